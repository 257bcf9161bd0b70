/** What happens to one attempt on this host: sandbox, workspace, work, changes. */
import { createReadStream, createWriteStream } from "node:fs";
import { stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { AgentWork, JobSpec } from "@devmesh/gen/devmesh/api/v1/job_pb";
import type { Lease } from "@devmesh/gen/devmesh/api/v1/runner_service_pb";
import { DevmeshError } from "@devmesh/mesh/errors";
import type { Ids } from "@devmesh/mesh/runtime";
import type { ReadOnlyMount, Sandbox, SandboxDriver, SandboxLimits } from "../drivers/driver.ts";
import { makeAgentInput } from "./agent-input.ts";
import { type StoredChanges, storeChanges } from "./artifacts.ts";
import type { Backend } from "./backend.ts";
import { openBackendDoor } from "./backend-door.ts";
import type { EventShipper } from "./event-shipper.ts";
import { sandboxLimits } from "./job-limits.ts";
import type { LogDigest } from "./log-digest.ts";
import { doWork, sandboxPaths, type WorkOutcome } from "./work.ts";

/** What the host gives to every attempt. */
export interface AttemptTools {
  readonly backend: Backend;
  readonly ids: Ids;
  /** The backend's public address, for the way out of agents' sandboxes. */
  readonly backendUrl: string;
  /** The Node binary of this host, given to agents. */
  readonly nodePath: string;
  /** The bundled agent. Absent: agent jobs are refused with the remedy. */
  readonly agentPath: string | undefined;
}

/** One attempt. */
export interface AttemptInput {
  readonly tools: AttemptTools;
  readonly lease: Lease;
  readonly jobId: string;
  readonly spec: JobSpec;
  readonly driver: SandboxDriver;
  readonly shipper: EventShipper;
  readonly digest: LogDigest;
  /** The attempt's own folder on the host. */
  readonly folder: string;
  /** Aborts when the work shall stop. */
  readonly stop: AbortSignal;
  /** Aborts when the lease is lost: nothing is stored any more. */
  readonly fenced: AbortSignal;
}

/** What the work ended with and what it left. */
export interface AttemptOutcome {
  readonly work: WorkOutcome;
  readonly stored: StoredChanges;
}

/** Runs the attempt; the sandbox is gone when it resolves or throws. */
export async function runAttempt(input: AttemptInput): Promise<AttemptOutcome> {
  const { tools, spec, driver, shipper, jobId, stop } = input;
  const agent = spec.work.case === "agent" ? spec.work.value : undefined;
  const limits = sandboxLimits(spec);
  await using cleanup = new AsyncDisposableStack();
  const mounts = agent === undefined ? [] : await agentMounts(input, agent);
  let backendSocket: string | undefined;
  if (agent !== undefined) {
    const door = await openBackendDoor(tools.backendUrl);
    cleanup.defer(() => door.close());
    backendSocket = door.socketPath;
  }
  const sandbox = await driver.create(
    {
      id: tools.ids.next("sbx"),
      jobId,
      limits,
      mounts,
      ...(backendSocket !== undefined && { backendSocket }),
    },
    stop,
  );
  cleanup.defer(() => sandbox.delete());
  const { name, isolation } = driver;
  shipper.note({
    level: "info",
    topic: "sandbox",
    message: `runs in a ${isolation} sandbox (${name})`,
    payload: { sandbox: sandbox.id, driver: name, isolation, limits },
  });
  const before = await putWorkspace(input, sandbox, limits);
  const work = await doWork(spec, {
    sandbox,
    shipper,
    digest: input.digest,
    jobId,
    jobToken: input.lease.jobToken,
    stop,
  });
  return { work, stored: await collect(input, sandbox, limits, before) };
}

async function agentMounts(input: AttemptInput, agent: AgentWork): Promise<ReadOnlyMount[]> {
  const { tools, shipper, folder } = input;
  if (tools.agentPath === undefined) {
    throw new DevmeshError(
      "UNAVAILABLE",
      "the coding agent is not built on this host: run `npm run build -w agents/coder`",
      { metadata: { part: "agent" } },
    );
  }
  const agentInput = await makeAgentInput(agent, tools.backend, shipper);
  const inputPath = join(folder, "input.json");
  await writeFile(inputPath, JSON.stringify(agentInput), { mode: 0o644 });
  return [
    { hostPath: tools.nodePath, sandboxPath: sandboxPaths.node },
    { hostPath: tools.agentPath, sandboxPath: sandboxPaths.agent },
    { hostPath: inputPath, sandboxPath: sandboxPaths.input },
  ];
}

/** The archive that goes in is kept beside, to tell afterwards what changed. */
async function putWorkspace(input: AttemptInput, sandbox: Sandbox, limits: SandboxLimits) {
  const sha256 = input.spec.workspaceSha256;
  if (sha256 === "") return undefined;
  const { stop: signal } = input;
  const path = join(input.folder, "before.tar");
  const pieces = input.tools.backend.blobs.getBlob({ sha256 }, { signal });
  await pipeline(Readable.from(bytesOf(pieces)), createWriteStream(path), { signal });
  await sandbox.put(createReadStream(path), signal);
  return { path, maxBytes: limits.diskMib * 1024 * 1024 };
}

async function collect(
  input: AttemptInput,
  sandbox: Sandbox,
  limits: SandboxLimits,
  before: { path: string; maxBytes: number } | undefined,
): Promise<StoredChanges> {
  const path = join(input.folder, "after.tar");
  const signal = input.fenced;
  await pipeline(await sandbox.get(signal), createWriteStream(path), { signal });
  // Headers and padding come on top of what the disk limit bounds.
  const maxBytes = Math.max((await stat(path)).size, limits.diskMib * 1024 * 1024) + 1024 * 1024;
  const { blobs } = input.tools.backend;
  const stored = await storeChanges({ blobs, before, after: { path, maxBytes }, signal });
  if (stored.leftOut.length > 0) {
    input.shipper.note({
      level: "warn",
      topic: "artifacts",
      message: `${stored.leftOut.length} changed files are too large to keep`,
      payload: { paths: stored.leftOut.slice(0, 100) },
    });
  }
  return stored;
}

async function* bytesOf(pieces: AsyncIterable<{ readonly data: Uint8Array }>) {
  for await (const { data } of pieces) yield data;
}
