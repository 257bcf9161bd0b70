/** `devmesh up` on SQLite, all four services in one process, and a second runner beside it. */
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { Part } from "./part.ts";
import { type ChaosPlatform, type PlatformOptions, stopParts } from "./platform.ts";
import { pickPorts } from "./ports.ts";
import { serviceTokenOf } from "./sandboxes.ts";

const runnerName = "runner";

/** Starts it; it serves when this resolves. */
export async function startEmbedded({ folder, env }: PlatformOptions): Promise<ChaosPlatform> {
  const dataDir = join(folder, "data");
  mkdirSync(dataDir);
  const [port, mcp, inference, vm, second] = await pickPorts(5);
  const url = `http://127.0.0.1:${port}`;
  const ports = { MCP_PORT: `${mcp}`, INFERENCE_PORT: `${inference}`, VM_PORT: `${vm}` };
  const up = new Part({
    name: "up",
    args: ["up", "--json", "--api-port", String(port)],
    env: { ...env, ...ports, DEVMESH_DATA_DIR: dataDir, RUNNER_CAPACITY: "3" },
    logPath: join(folder, "up.log"),
    // The last port to open: leftovers of the one before are gone then.
    readyUrl: `http://127.0.0.1:${vm}/livez`,
  });
  const parts = [up];
  const close = async () => {
    for (const part of parts) part.abandon();
  };
  try {
    up.start();
    await up.untilReady();
    const runner = secondRunner(folder, env, url, join(dataDir, "service.token"), second);
    // It gives its jobs back while the backend still listens.
    parts.unshift(runner);
    runner.start();
    await runner.untilReady();
  } catch (error) {
    await close();
    throw error;
  }
  const stateDirs = [dataDir, join(folder, runnerName)].map((dir) => join(dir, "vm"));
  return {
    parts,
    runners: parts.slice(0, 1),
    urls: [url],
    token: readFileSync(join(dataDir, "owner.token"), "utf8").trim(),
    stateDirs,
    hosts: { ports: [vm ?? 0, second ?? 0], serviceToken: serviceTokenOf(dataDir), stateDirs },
    leasesLeft: async () => countLeases(join(dataDir, "api.sqlite")),
    stop: () => stopParts(parts),
    close,
  };
}

/** Its late writes can be fenced: what stands still within `up` stands still with the store. */
function secondRunner(
  folder: string,
  env: Readonly<Record<string, string>>,
  url: string,
  tokenPath: string,
  port: number | undefined,
): Part {
  const dataDir = join(folder, runnerName);
  mkdirSync(dataDir);
  return new Part({
    name: runnerName,
    args: ["serve", "vm"],
    env: {
      ...env,
      DEVMESH_SERVICE_TOKEN: readFileSync(tokenPath, "utf8").trim(),
      VM_PORT: String(port),
      DEVMESH_DATA_DIR: dataDir,
      API_URL: url,
      RUNNER_CAPACITY: "3",
    },
    logPath: join(folder, `${runnerName}.log`),
    readyUrl: `http://127.0.0.1:${port}/livez`,
  });
}

function countLeases(path: string): number {
  const database = new DatabaseSync(path, { readOnly: true });
  try {
    const table = database.prepare(
      "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'job_leases'",
    );
    if (table.get() === undefined) return 0;
    return Number(database.prepare("SELECT count(*) AS n FROM job_leases").get()?.n);
  } finally {
    database.close();
  }
}
