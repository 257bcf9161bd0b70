/** The four services, each in a process of its own, as on four machines. */
import { randomBytes } from "node:crypto";
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { freePort } from "../../scripts/parts/free-port.ts";
import { createDevmesh, type NodeDevmesh } from "../../sdk/ts/src/node.ts";
import { type Program, startProgram } from "./program.ts";
import { isReady, until } from "./wait.ts";

/** Services that run. */
export interface Services {
  readonly url: string;
  readonly token: string;
  readonly devmesh: NodeDevmesh;
  /** Ends all; answers their exit statuses by name. */
  stop(): Promise<Record<string, number | null>>;
}

const names = ["inference", "mcp", "api", "vm"] as const;

/** Starts them; each has its own data folder below `dataDir`. */
export async function startServices(
  dataDir: string,
  env: Readonly<Record<string, string>>,
): Promise<Services> {
  const [api, mcp, inference, vm] = await Promise.all([0, 0, 0, 0].map(freePort));
  const shared = {
    API_PORT: String(api),
    MCP_PORT: String(mcp),
    INFERENCE_PORT: String(inference),
    VM_PORT: String(vm),
    API_URL: `http://127.0.0.1:${api}`,
    MCP_URL: `http://127.0.0.1:${mcp}`,
    INFERENCE_URL: `http://127.0.0.1:${inference}`,
    DEVMESH_SERVICE_TOKEN: randomBytes(24).toString("base64url"),
    LOG_LEVEL: "warn",
    SANDBOX_DRIVERS: "process",
  };
  const programs = new Map<string, Program>();
  for (const name of names) {
    const own = join(dataDir, name);
    mkdirSync(own);
    const all = { HOME: own, DEVMESH_DATA_DIR: own, ...shared, ...env };
    programs.set(name, startProgram({ args: ["serve", name], env: all }));
  }
  const stop = async () => {
    const ends = [...programs].reverse().map(async ([name, program]) => {
      return [name, await program.end("SIGTERM")] as const;
    });
    return Object.fromEntries(await Promise.all(ends));
  };
  try {
    for (const [name, port] of Object.entries({ inference, mcp, api, vm })) {
      await until(`${name} is ready`, () => isUp(programs.get(name), port));
    }
  } catch (error) {
    const said = [...programs].map(([name, program]) => `${name}: ${program.err()}`);
    await stop();
    throw new Error(`the services do not start: ${said.join("\n")}`, { cause: error });
  }
  const url = shared.API_URL;
  const token = readFileSync(join(dataDir, "api", "owner.token"), "utf8").trim();
  const devmesh = createDevmesh({ baseUrl: url, token });
  return {
    url,
    token,
    devmesh,
    stop: async () => {
      devmesh.close();
      return stop();
    },
  };
}

async function isUp(program: Program | undefined, port: number | undefined): Promise<boolean> {
  if (program?.child.exitCode !== null) throw new Error(`it has ended: ${program?.err()}`);
  return isReady(`http://127.0.0.1:${port}`);
}
