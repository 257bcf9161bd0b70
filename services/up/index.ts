/**
 * What the CLI loads: `devmesh up`, `serve`, `runner`, `chaos`, `restore` and `doctor --attack`. The one place
 * outside the services that knows all of them.
 */

import type { Env } from "@devmesh/mesh/config";
import { DevmeshError } from "@devmesh/mesh/errors";
import { exitOnConfigError, untilSignalled } from "@devmesh/mesh/server";
import { startTelemetry } from "@devmesh/mesh/telemetry";
import type { Installed, InstallOptions, Uninstalled } from "@devmesh/vm/install";
import { type Platform, startPlatform } from "./app.ts";
import { builtParts, readUpOptions, upHelp } from "./options.ts";
import { toolEntry } from "./tools.ts";

export { restorePlatform as runRestore } from "./restore.ts";

/** The services that run alone. */
const services = {
  api: () => import("@devmesh/api/main"),
  mcp: () => import("@devmesh/mcp/main"),
  inference: () => import("@devmesh/inference/main"),
  vm: () => import("@devmesh/vm/main"),
};

/** Runs the platform until it is told to stop. */
export async function runUp(argv: readonly string[]): Promise<void> {
  if (argv.includes("--help")) {
    process.stdout.write(upHelp);
    return;
  }
  const { platform, telemetry, json, quiet } = await exitOnConfigError(async () => {
    const { env, json, quiet } = readUpOptions(argv, process.env);
    const telemetry = await startTelemetry({ service: "devmesh", env });
    return { platform: await startPlatform(env), telemetry, json, quiet };
  });
  if (json) process.stdout.write(`${JSON.stringify(summaryOf(platform))}\n`);
  else if (!quiet) process.stdout.write(welcome(platform));
  stopWithNpm();
  await untilSignalled(async () => {
    await platform.close();
    await telemetry.close();
  });
  process.exit(0);
}

/** Runs one service until it is told to stop; its settings are environment variables. */
export async function runServe(name: string): Promise<void> {
  await exitOnConfigError(async () => {
    if (!Object.hasOwn(services, name)) {
      const names = Object.keys(services).join(", ");
      throw new DevmeshError(
        "INVALID_FIELD",
        `serve: there is no service ${JSON.stringify(name)}; there are ${names}`,
      );
    }
  });
  await services[name as keyof typeof services]();
  process.exit(0);
}

/** Runs jobs of a server elsewhere until it is told to stop; answers the exit status. */
export async function runRunner(env: Env): Promise<never> {
  const { runJoin } = await import("@devmesh/vm/join");
  process.exit(await runJoin({ ...builtParts(), ...env }));
}

/** Sets a runner up on another machine. Throws DevmeshErrors; leaves nothing there then. */
export async function installRunner(options: InstallOptions): Promise<Installed> {
  const { installRunner: install } = await import("@devmesh/vm/install");
  const { AGENT_PATH: agentPath } = builtParts();
  return await install({ ...options, ...(agentPath !== undefined && { agentPath }) });
}

/** Removes it. Throws DevmeshErrors. */
export async function uninstallRunner(target: InstallOptions["target"]): Promise<Uninstalled> {
  const { uninstallRunner: uninstall } = await import("@devmesh/vm/install");
  return await uninstall(target);
}

function summaryOf({ url, consoleUrl, dataDir, ownerTokenPath, ports }: Platform): object {
  return { url, console: consoleUrl, dataDir, ownerTokenPath, ports, pid: process.pid };
}

function welcome({ url, consoleUrl, dataDir }: Platform): string {
  return `devmesh is up

  console  ${consoleUrl}
           (the link works once, within five minutes; \`devmesh console\` makes another)
  API      ${url}
  data     ${dataDir}

  Try:  DEVMESH_URL=${url} npx devmesh run -- echo hello
  Stop: Ctrl-C
`;
}

/** Started by npm, the platform does not outlive it: nobody could stop it any more. */
function stopWithNpm(): void {
  if (process.env.npm_lifecycle_event === undefined) return;
  const parent = process.ppid;
  setInterval(() => {
    if (process.ppid !== parent) process.kill(process.pid, "SIGTERM");
  }, 1_000).unref();
}

/**
 * Runs `devmesh chaos`; answers the exit status. The tool lies beside the
 * services in the tree and knows the public SDK only: it is found, not imported.
 */
export async function runChaos(argv: readonly string[]): Promise<number> {
  const entry = await exitOnConfigError(async () => toolEntry("chaos"));
  const tool = (await import(entry)) as { runChaos(argv: readonly string[]): Promise<number> };
  return tool.runChaos(argv);
}

/**
 * Runs `devmesh doctor --attack`; answers the exit status. The tool lies beside
 * the services in the tree, as `devmesh chaos` does.
 */
export async function runAttack(argv: readonly string[]): Promise<number> {
  const entry = await exitOnConfigError(async () => toolEntry("attack"));
  const tool = (await import(entry)) as { runAttack(argv: readonly string[]): Promise<number> };
  return tool.runAttack(argv);
}
