/** The embedded platform as its users start it: `devmesh up` in a process of its own. */
import { readFileSync } from "node:fs";
import { createDevmesh, type NodeDevmesh } from "../../sdk/ts/src/node.ts";
import { type Program, runProgram, startProgram } from "./program.ts";
import { until } from "./wait.ts";

/** How to start it. */
export interface UpOptions {
  readonly dataDir: string;
  /** True: calls from this machine need no token. Default: false. */
  readonly dev?: boolean;
  /** Default: any free port. */
  readonly apiPort?: number;
  /** Added to the environment. */
  readonly env?: Readonly<Record<string, string>>;
}

/** A platform that runs. */
export interface Up {
  readonly url: string;
  readonly pid: number;
  readonly ports: Readonly<Record<"api" | "mcp" | "inference" | "vm", number>>;
  /** The owner's token. */
  readonly token: string;
  /** A client with that token. */
  readonly devmesh: NodeDevmesh;
  /** What it has logged. */
  log(): string;
  /** Ends it; answers its exit status. Default: SIGTERM. */
  stop(signal?: NodeJS.Signals): Promise<number | null>;
}

interface UpLine {
  readonly url: string;
  readonly ownerTokenPath: string;
  readonly ports: Up["ports"];
  readonly pid: number;
}

/** Starts it and resolves when it serves. */
export async function startUp(options: UpOptions): Promise<Up> {
  const program = startProgram(argumentsOf(options));
  const { url, ownerTokenPath, ports, pid } = await readLine(program);
  const token = readFileSync(ownerTokenPath, "utf8").trim();
  const devmesh = createDevmesh({ baseUrl: url, token });
  return {
    url,
    pid,
    ports,
    token,
    devmesh,
    log: program.err,
    async stop(signal = "SIGTERM") {
      devmesh.close();
      return program.end(signal);
    },
  };
}

/** Starts it where it must refuse to start. */
export function failUp(options: UpOptions) {
  return runProgram(argumentsOf(options));
}

/** Waits until a runner takes jobs, which comes a little later than the port. */
export async function untilRunner(
  { devmesh }: Pick<Up, "devmesh">,
  limitMs?: number,
): Promise<void> {
  const ask = async () => {
    const agents = await devmesh.agents.list();
    return agents.some(({ capabilities }) => capabilities.some((row) => row.available));
  };
  await until("a runner is there", ask, limitMs);
}

function argumentsOf({ dataDir, dev = false, apiPort = 0, env = {} }: UpOptions) {
  const ports = ["--api-port", String(apiPort), "--private-ports", "auto"];
  return {
    args: ["up", "--json", ...ports, "--data-dir", dataDir, ...(dev ? ["--dev"] : [])],
    // Other drivers take seconds to probe; tests that need them name them.
    env: { HOME: dataDir, SANDBOX_DRIVERS: "process", ...env },
  };
}

async function readLine(program: Program): Promise<UpLine> {
  const text = await until(`devmesh up serves`, () => {
    if (program.child.exitCode !== null) throw new Error(`devmesh up ended: ${program.err()}`);
    return program.out().includes("\n") && program.out();
  });
  return JSON.parse(text) as UpLine;
}
