/** What there is on the server under test: the ids, tokens and hashes that cases name. */
import { createHash } from "node:crypto";
import { frame } from "./wire.ts";

/** Things that exist, by kind. */
export interface World {
  readonly jobs: readonly string[];
  readonly tokens: readonly string[];
  readonly runners: readonly string[];
  readonly blobs: readonly string[];
  readonly pageTokens: readonly string[];
  /** Jobs that a runner holds. */
  readonly leased: readonly string[];
  readonly secrets: readonly string[];
}

/** Calls a method by Connect with JSON. Throws what the server refused. */
type Call = <T>(method: string, message: object) => Promise<T>;

/** Makes a little of everything. */
export async function makeWorld(url: string, token: string): Promise<World> {
  const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
  const call: Call = async <T>(method: string, message: object) => {
    const body = JSON.stringify(message);
    const res = await fetch(`${url}/devmesh.api.v1.${method}`, { method: "POST", headers, body });
    if (!res.ok) throw new Error(`${method}: ${res.status} ${await res.text()}`);
    return (await res.json()) as T;
  };
  const capabilities = [{ driver: "none", isolation: "ISOLATION_PROCESS", available: true }];
  const runner = { id: "fuzz-runner", host: "fuzz", capacity: 100, capabilities };
  await call("RunnerService/RegisterRunner", { runner });
  const jobs = await times(40, async (i) => {
    const spec = { command: { argv: ["true"] }, labels: { n: String(i) } };
    return (await call<{ jobId: string }>("JobService/CreateJob", { spec })).jobId;
  });
  const ask = { runnerId: runner.id, maxJobs: 10, isolations: ["ISOLATION_PROCESS"] };
  const { leases = [] } = await call<{ leases?: { job: { id: string } }[] }>(
    "RunnerService/LeaseJobs",
    ask,
  );
  const page = await call<{ nextPageToken: string }>("JobService/ListJobs", { pageSize: 2 });
  const tokens = await times(10, async (i) => {
    const made = { name: `fuzz-${i}`, scopes: ["read:self"], ttl: "3600s" };
    return (await call<{ token: { id: string } }>("TokenService/CreateToken", made)).token.id;
  });
  const link = await call<{ secret: string }>("TokenService/CreateConsoleLink", {});
  const documents = [{ source: "fuzz.md", text: "A little text about nothing." }];
  await call("ContextService/IngestContext", { documents });
  return {
    jobs,
    tokens,
    runners: [runner.id],
    blobs: [await putBlob(url, headers, Buffer.from("a blob"))],
    pageTokens: [page.nextPageToken],
    leased: leases.map(({ job }) => job.id),
    secrets: [link.secret],
  };
}

async function putBlob(url: string, headers: Record<string, string>, data: Buffer) {
  const sha256 = createHash("sha256").update(data).digest("hex");
  const message = JSON.stringify({ sha256, data: data.toString("base64") });
  const res = await fetch(`${url}/devmesh.api.v1.BlobService/PutBlob`, {
    method: "POST",
    headers: { ...headers, "content-type": "application/connect+json" },
    body: new Uint8Array(frame(Buffer.from(message))),
  });
  const text = await res.text();
  if (!text.includes(sha256)) throw new Error(`PutBlob: ${text}`);
  return sha256;
}

async function times<T>(count: number, make: (i: number) => Promise<T>): Promise<T[]> {
  const made: T[] = [];
  for (let i = 0; i < count; i++) made.push(await make(i));
  return made;
}
