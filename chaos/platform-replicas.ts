/** Three backends and two runners, each a process of its own, over one Postgres. */
import { randomBytes } from "node:crypto";
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Client } from "pg";
import { startPostgres } from "../scripts/parts/postgres.ts";
import { Part } from "./part.ts";
import { type ChaosPlatform, type PlatformOptions, stopParts } from "./platform.ts";
import { pickPorts } from "./ports.ts";
import type { Random } from "./random.ts";

const backends = 3;
const runners = 2;

/** Starts it; everything serves when this resolves. Throws with the remedy where there is no Postgres. */
export async function startReplicas(options: PlatformOptions): Promise<ChaosPlatform> {
  const found = await startPostgres({ log: options.log });
  if (!found.ok) throw new Error(`there is no Postgres: ${found.reason}; ${found.remedy}`);
  const { url: storageUrl, stop: stopPostgres } = found.value;
  const layout = await makeLayout(options.folder);
  const serviceToken = randomBytes(24).toString("base64url");
  const { apis, vms } = makeParts(options, layout, storageUrl, serviceToken);
  const parts = [...vms, ...apis];
  const close = async () => {
    for (const part of parts) part.abandon();
    await stopPostgres();
  };
  try {
    for (const part of parts) part.start();
    for (const part of parts) await part.untilReady();
  } catch (error) {
    await close();
    throw error;
  }
  const stateDirs = vms.map(({ name }) => join(options.folder, name, "vm"));
  return {
    parts,
    runners: vms,
    urls: layout.apiUrls,
    token: readFileSync(join(layout.apiFolder, "owner.token"), "utf8").trim(),
    stateDirs,
    hosts: { ports: layout.vmPorts, serviceToken, stateDirs },
    cut: (random) => withClient(storageUrl, (client) => cutConnections(client, random)),
    leasesLeft: () => withClient(storageUrl, countLeases),
    // The runners give their jobs back while the backends still listen.
    stop: () => stopParts(parts),
    close,
  };
}

interface Layout {
  readonly apiUrls: readonly string[];
  readonly vmPorts: readonly number[];
  /** One folder for all backends: they share the owner's token and the blobs. */
  readonly apiFolder: string;
  /** Nobody listens there: commands need neither memory nor models. */
  readonly nowhere: string;
}

async function makeLayout(folder: string): Promise<Layout> {
  const ports = await pickPorts(backends + runners + 1);
  const apiFolder = join(folder, "api");
  mkdirSync(apiFolder);
  return {
    apiUrls: ports.slice(0, backends).map((port) => `http://127.0.0.1:${port}`),
    vmPorts: ports.slice(backends, backends + runners),
    apiFolder,
    nowhere: `http://127.0.0.1:${ports.at(-1)}`,
  };
}

function makeParts(
  { folder, env }: PlatformOptions,
  { apiUrls, vmPorts, apiFolder, nowhere }: Layout,
  storageUrl: string,
  serviceToken: string,
): { apis: Part[]; vms: Part[] } {
  const shared = { ...env, DEVMESH_SERVICE_TOKEN: serviceToken };
  const make = (name: string, service: string, readyUrl: string, own: Record<string, string>) =>
    new Part({
      name,
      args: ["serve", service],
      env: { ...shared, ...own },
      logPath: join(folder, `${name}.log`),
      readyUrl,
    });
  const apis = apiUrls.map((url, i) =>
    make(`api-${i + 1}`, "api", `${url}/readyz`, {
      API_PORT: new URL(url).port,
      DEVMESH_DATA_DIR: apiFolder,
      STORAGE_URL: storageUrl,
      MCP_URL: nowhere,
      INFERENCE_URL: nowhere,
    }),
  );
  const vms = vmPorts.map((port, i) => {
    const name = `vm-${i + 1}`;
    mkdirSync(join(folder, name));
    return make(name, "vm", `http://127.0.0.1:${port}/livez`, {
      VM_PORT: String(port),
      DEVMESH_DATA_DIR: join(folder, name),
      // Each by way of another backend.
      API_URL: apiUrls[i % apiUrls.length] ?? "",
      RUNNER_CAPACITY: "3",
    });
  });
  return { apis, vms };
}

async function withClient(url: string, run: (client: Client) => Promise<number>): Promise<number> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    return await run(client);
  } finally {
    await client.end();
  }
}

/** About half of those that are there, in the middle of whatever they do. */
async function cutConnections(client: Client, random: Random): Promise<number> {
  const { rows } = await client.query<{ pid: number }>(
    `SELECT pid FROM pg_stat_activity
     WHERE datname = current_database() AND backend_type = 'client backend'
       AND pid <> pg_backend_pid()
     ORDER BY pid`,
  );
  const picked = rows.map(({ pid }) => pid).filter(() => random.chance(0.5));
  await client.query("SELECT pg_terminate_backend(pid) FROM unnest($1::int[]) AS pid", [picked]);
  return picked.length;
}

async function countLeases(client: Client): Promise<number> {
  const name = "devmesh_api.job_leases";
  const { rows } = await client.query<{ there: boolean }>(
    "SELECT to_regclass($1) IS NOT NULL AS there",
    [name],
  );
  if (rows[0]?.there !== true) return 0;
  const counted = await client.query<{ n: number }>(`SELECT count(*)::int AS n FROM ${name}`);
  return counted.rows[0]?.n ?? 0;
}
