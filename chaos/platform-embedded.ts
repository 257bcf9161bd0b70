/** `devmesh up` on SQLite: all four services in one process. */
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { Part } from "./part.ts";
import { type ChaosPlatform, type PlatformOptions, stopParts } from "./platform.ts";
import { pickPorts } from "./ports.ts";

/** Starts it; it serves when this resolves. */
export async function startEmbedded({ folder, env }: PlatformOptions): Promise<ChaosPlatform> {
  const dataDir = join(folder, "data");
  mkdirSync(dataDir);
  const [port, mcp, inference, vm] = await pickPorts(4);
  const url = `http://127.0.0.1:${port}`;
  const ports = { MCP_PORT: `${mcp}`, INFERENCE_PORT: `${inference}`, VM_PORT: `${vm}` };
  const up = new Part({
    name: "up",
    args: ["up", "--json", "--api-port", String(port)],
    env: { ...env, ...ports, DEVMESH_DATA_DIR: dataDir, RUNNER_CAPACITY: "4" },
    logPath: join(folder, "up.log"),
    // The last port to open: leftovers of the one before are gone then.
    readyUrl: `http://127.0.0.1:${vm}/livez`,
  });
  up.start();
  try {
    await up.untilReady();
  } catch (error) {
    up.abandon();
    throw error;
  }
  return {
    parts: [up],
    runners: [up],
    urls: [url],
    token: readFileSync(join(dataDir, "owner.token"), "utf8").trim(),
    stateDirs: [join(dataDir, "vm")],
    leasesLeft: async () => countLeases(join(dataDir, "api.sqlite")),
    stop: () => stopParts([up]),
    close: async () => up.abandon(),
  };
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
