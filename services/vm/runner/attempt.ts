/** What happens to one attempt on this host: sandbox, workspace, work, changes. */
import { createReadStream, createWriteStream } from "node:fs";
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { AgentHarness, type AgentWork, type JobSpec } from "@devmesh/gen/devmesh/api/v1/job_pb";
import type { Lease } from "@devmesh/gen/devmesh/api/v1/runner_service_pb";
import { DevmeshError, toDevmeshError } from "@devmesh/mesh/errors";
import type { Logger } from "@devmesh/mesh/log";
import type { Clock, Ids } from "@devmesh/mesh/runtime";
import type {
  ReadOnlyMount,
  Sandbox,
  SandboxDoor,
  SandboxDriver,
  SandboxStats,
} from "../drivers/driver.ts";
import { requireReceipt } from "../drivers/receipt-check.ts";
import { type Egress, type EgressHostOptions, openEgress } from "../egress/egress.ts";
import type { EgressBytes } from "../egress/upstreams.ts";
import type { AgentAnswers } from "./agent-answers.ts";
import { AgentCheckpoints } from "./agent-checkpoints.ts";
import { makeAgentInput } from "./agent-input.ts";
import { type AgentPast, noPast, readPast } from "./agent-past.ts";
import type { AgentSetup } from "./agent-rounds.ts";
import { measureAgent } from "./agent-telemetry.ts";
import { nothingStored, type StoredChanges, storeChanges } from "./artifacts.ts";
import type { Backend } from "./backend.ts";
import { openBackendDoor } from "./backend-door.ts";
import { fetchBlob } from "./blob-content.ts";
import type { EventShipper } from "./event-shipper.ts";
import { type ForeignAgent, modelPort, prepareForeignAgent } from "./foreign-agent.ts";
import { sandboxLimits } from "./job-limits.ts";
import type { Note } from "./job-notes.ts";
import type { LogDigest } from "./log-digest.ts";
import { protectedChanges } from "./protected-paths.ts";
import type { StopSignals } from "./pump.ts";
import {
  changedFiles,
  fetchChanges,
  type KeptChanges,
  mergeArchives,
} from "./restore-workspace.ts";
import type { RunDeadline } from "./run-deadline.ts";
import { receiptNote } from "./sandbox-notes.ts";
import type { SilenceWatch } from "./silence-watch.ts";
import { untilAnswered } from "./until-answered.ts";
import { doWork, sandboxPaths, type WorkOutcome } from "./work.ts";
import type { Archive } from "./workspace-changes.ts";

/** What the host gives to every attempt. */
export interface AttemptTools {
  readonly backend: Backend;
  readonly clock: Clock;
  readonly ids: Ids;
  readonly logger: Logger;
  /** The backend's public address, for the way out of agents' sandboxes. */
  readonly backendUrl: string;
  /** The Node binary of this host, given to agents. */
  readonly nodePath: string;
  /** The bundled agent. Absent: agent jobs are refused with the remedy. */
  readonly agentPath: string | undefined;
  /** Where agents of other makers lie on this host. */
  readonly harnessDir: string;
  /** How long a program that is told to stop has before it is killed, in milliseconds. */
  readonly graceMs: number;
  /** What the host's operator says of network policies. Default: no secrets, no private ranges. */
  readonly egress?: EgressHostOptions;
}

/** How the removal of a sandbox went. */
export interface Removal {
  /** False: it could not be removed; the next start of the host tries again. */
  readonly isRemoved: boolean;
  readonly processesLeft: number;
}

/** One attempt. */
export interface AttemptInput extends StopSignals {
  readonly tools: AttemptTools;
  readonly lease: Lease;
  readonly jobId: string;
  readonly spec: JobSpec;
  readonly driver: SandboxDriver;
  readonly shipper: EventShipper;
  readonly digest: LogDigest;
  readonly silence: SilenceWatch;
  /** When it must have ended. */
  readonly deadline: RunDeadline;
  /** What people answer to its agent. */
  readonly answers: AgentAnswers;
  /** Told how the removal of the sandbox went. */
  readonly onRemoved: (removal: Removal) => void;
  /** Told what went over the egress proxy, if there was one. */
  readonly onEgress: (bytes: EgressBytes) => void;
  /** The attempt's own folder on the host. */
  readonly folder: string;
  /** False if nobody will want what this work left: another attempt does it again. */
  readonly keeps: (work: WorkOutcome) => boolean;
}

/** What the work ended with and what it left. */
export interface AttemptOutcome {
  readonly work: WorkOutcome;
  readonly stored: StoredChanges;
  /** Why what it left could not be kept. Absent: it is kept. */
  readonly storeFailure?: DevmeshError;
  /** What the sandbox used until its end. Absent: its kernel could not be asked. */
  readonly usage: SandboxStats | undefined;
  /** True if somebody had the sandbox deleted before the work in it had ended. */
  readonly sandboxRemoved?: boolean;
}

/** Runs the attempt; the sandbox is gone when it resolves or throws. */
export async function runAttempt(input: AttemptInput): Promise<AttemptOutcome> {
  const { tools, lease, spec, driver, shipper, digest, jobId, silence } = input;
  const { stop, fenced, graceMs, onStopStep } = input;
  stop.throwIfAborted();
  const agent = spec.work.case === "agent" ? spec.work.value : undefined;
  const limits = sandboxLimits(spec);
  await using cleanup = new AsyncDisposableStack();
  const foreign = agent && (await foreignAgent(input, agent));
  const mounts = [...(foreign?.mounts ?? (agent === undefined ? [] : agentMounts(input)))];
  const past = agent === undefined ? noPast() : await pastOf(input, agent);
  const doors: SandboxDoor[] = [];
  if (agent !== undefined) {
    const door = await openBackendDoor(tools.backendUrl);
    cleanup.defer(() => door.close());
    const { socketPath } = door;
    doors.push({ name: "backend", socketPath, ...(foreign && { port: modelPort }) });
  }
  const egress = await openNetwork(input);
  if (egress !== undefined) {
    // The sandbox is gone by then, so that all it tried is told.
    cleanup.defer(() => egress.close().finally(() => input.onEgress(egress.bytes())));
    doors.push(egress.door);
    mounts.push(...egress.mounts);
  }
  const wanted = { id: tools.ids.next("sbx"), jobId, limits, mounts, doors };
  const sandbox = await driver.create(wanted, stop);
  cleanup.defer(async () => input.onRemoved(await removeSandbox(sandbox, tools.logger)));
  const { name, isolation } = driver;
  await shipper.note({
    level: "info",
    topic: "sandbox",
    message: `runs in a ${isolation} sandbox (${name})`,
    payload: { sandbox: sandbox.id, driver: name, isolation, limits },
  });
  await shipper.note(receiptNote(sandbox));
  requireReceipt(wanted, sandbox.receipt);
  const maxBytes = limits.diskMib * 1024 * 1024;
  const { before, kept } = await putWorkspace(input, sandbox, maxBytes, past);
  const isOwn = agent !== undefined && foreign === undefined;
  const setup = isOwn ? await agentSetup(input, agent, past, kept) : undefined;
  const { clock } = tools;
  const { jobToken } = lease;
  const stops = { stop, fenced, graceMs, onStopStep };
  const env = egress?.env ?? {};
  const context = {
    ...{ sandbox, shipper, digest, silence, clock, jobId, jobToken, env, ...stops },
    ...(setup && { agent: setup }),
    ...(foreign && { foreign }),
  };
  silence.start();
  const beganAt = clock.now();
  const work = await doWork(spec, context);
  if (agent !== undefined) {
    const ms = clock.now() - beganAt;
    measureAgent({ logger: tools.logger, jobId, driver: driver.name, work, ms });
  }
  silence.close();
  if (sandbox.state === "removing") {
    return { work, stored: nothingStored, usage: undefined, sandboxRemoved: true };
  }
  const usage = await usageOf(sandbox, tools.logger);
  if (!input.keeps(work)) return { work, stored: nothingStored, usage };
  try {
    const stored = await collect(input, sandbox, maxBytes, before);
    return { work: await withProtection(work, stored, agent, shipper), stored, usage };
  } catch (error) {
    fenced.throwIfAborted();
    return { work, stored: nothingStored, storeFailure: toDevmeshError(error), usage };
  }
}

/** Asked when the work has ended: what is collected afterwards is the host's own use. */
async function usageOf(sandbox: Sandbox, logger: Logger): Promise<SandboxStats | undefined> {
  try {
    return await sandbox.stats();
  } catch (err) {
    const { id, driver } = sandbox;
    logger.warn({ sandbox: id, driver, err }, "a sandbox's use could not be read");
    return undefined;
  }
}

/** The way out that the job's network policy opens; undefined if it opens none. */
async function openNetwork(input: AttemptInput): Promise<Egress | undefined> {
  const { tools, lease, spec, jobId, folder, shipper, fenced: signal } = input;
  const { network: policy } = spec;
  if (policy === undefined || policy.allow.length === 0) return undefined;
  const { backend, clock } = tools;
  const ref = { jobId, epoch: lease.epoch };
  return openEgress({
    host: tools.egress ?? {},
    ...{ policy, jobId, folder, clock },
    report: async (number, decisions) => {
      const request = { lease: ref, number, decisions: [...decisions] };
      const call = () => backend.runners.reportEgress(request, { timeoutMs: 10_000, signal });
      await untilAnswered(call, { clock, signal });
    },
    // Notes that cannot be shipped end the attempt by the shipper's own hand.
    note: (note) => void shipper.note(note).catch(() => {}),
  });
}

/** An agent's work is not done if a file that had to stay as it was did not, whatever changed it. */
async function withProtection(
  work: WorkOutcome,
  { changes }: StoredChanges,
  agent: AgentWork | undefined,
  shipper: EventShipper,
): Promise<WorkOutcome> {
  const changed = protectedChanges(changes, agent?.protectedPaths ?? []);
  if (changed.length === 0 || work.stopped || work.agentFailure !== undefined) return work;
  const message = `protected files were changed: ${changed.slice(0, 20).join(", ")}`;
  await shipper.note({ level: "error", topic: "agent.end", message, payload: { done: false } });
  return { ...work, agentFailure: { reason: "EXIT_STATUS", message } };
}

/** What became of the work does not hang on this: a sandbox that stays is told, and reaped at the next start. */
async function removeSandbox(sandbox: Sandbox, logger: Logger): Promise<Removal> {
  let isRemoved = true;
  try {
    await sandbox.delete();
  } catch (err) {
    isRemoved = false;
    const { id, driver, jobId } = sandbox;
    logger.error({ sandbox: id, driver, jobId, err }, "a sandbox could not be removed");
  }
  // A driver that cannot count removes all or fails; then one stands for all that is left.
  const processesLeft = (await sandbox.processes?.()) ?? (isRemoved ? 0 : 1);
  return { isRemoved, processesLeft };
}

/** The agent of another maker that the work names; undefined for devmesh's own. */
async function foreignAgent(
  { tools, lease, shipper, stop }: AttemptInput,
  agent: AgentWork,
): Promise<ForeignAgent | undefined> {
  return prepareForeignAgent(agent, {
    ...{ harnessDir: tools.harnessDir, nodePath: tools.nodePath, shipper },
    input: () => makeAgentInput(agent, tools.backend.forJob(lease.jobToken), shipper, stop),
  });
}

function agentMounts({ tools }: AttemptInput): ReadOnlyMount[] {
  if (tools.agentPath === undefined) {
    throw new DevmeshError(
      "UNAVAILABLE",
      "the coding agent is not built on this host: run `node scripts/build.ts`",
      { metadata: { part: "agent" } },
    );
  }
  return [
    { hostPath: tools.nodePath, sandboxPath: sandboxPaths.node },
    { hostPath: tools.agentPath, sandboxPath: sandboxPaths.agent },
  ];
}

/** Only devmesh's own agent goes on from its notes. */
async function pastOf(
  { lease, tools, stop }: AttemptInput,
  { harness }: AgentWork,
): Promise<AgentPast> {
  const isOwn = harness === AgentHarness.UNSPECIFIED || harness === AgentHarness.CODER;
  return isOwn ? readPast(lease, tools.backend, tools.clock, stop) : noPast();
}

async function agentSetup(
  input: AttemptInput,
  work: AgentWork,
  past: AgentPast,
  kept: KeptChanges | undefined,
): Promise<AgentSetup> {
  const { tools, lease, shipper, stop, folder, fenced: signal, answers, deadline } = input;
  const { clock, backend } = tools;
  const { blobs } = backend;
  const note = async (told: Note) => {
    await shipper.note(told);
  };
  const checkpoints = new AgentCheckpoints({ blobs, clock, signal, folder, note });
  if (kept !== undefined) {
    await checkpoints.restore(changedFiles(kept.changed, signal), kept.deleted);
  }
  const { length } = past.transcript.entries;
  if (length > 0) {
    const message = "the agent goes on from the log of the attempt before";
    await note({ level: "info", topic: "agent.resume", message, payload: { entries: length } });
  }
  return {
    input: await makeAgentInput(work, backend.forJob(lease.jobToken), shipper, stop),
    ...{ past, answers, deadline, checkpoints },
    hasFiles: kept !== undefined,
  };
}

/** The archive that goes in is kept beside, to tell afterwards what changed. */
async function putWorkspace(
  input: AttemptInput,
  sandbox: Sandbox,
  maxBytes: number,
  past: AgentPast,
): Promise<{ before: Archive | undefined; kept: KeptChanges | undefined }> {
  const sha256 = input.spec.workspaceSha256;
  const { stop: signal, tools, folder } = input;
  const access = { blobs: tools.backend.blobs, clock: tools.clock, signal };
  const before = sha256 === "" ? undefined : { path: join(folder, "before.tar"), maxBytes };
  if (before !== undefined) await fetchBlob(access, sha256, before.path);
  const kept = past.files && (await fetchChanges(past.files, folder, access));
  const merged = join(folder, "restored.tar");
  if (kept !== undefined) await mergeArchives(before, kept, merged, signal);
  const path = kept === undefined ? before?.path : merged;
  if (path !== undefined) await putArchive(sandbox, path, signal);
  return { before, kept };
}

async function putArchive(sandbox: Sandbox, path: string, signal: AbortSignal): Promise<void> {
  const archive = createReadStream(path);
  try {
    await sandbox.put(archive, signal);
  } finally {
    archive.destroy();
  }
}

/** A stop that comes now changes nothing: the work has ended. */
async function collect(
  input: AttemptInput,
  sandbox: Sandbox,
  diskBytes: number,
  before: Archive | undefined,
): Promise<StoredChanges> {
  const { folder, fenced: signal, shipper } = input;
  const path = join(folder, "after.tar");
  await pipeline(await sandbox.get(signal), createWriteStream(path), { signal });
  // Headers and padding come on top of what the disk limit bounds.
  const maxBytes = Math.max((await stat(path)).size, diskBytes) + 1024 * 1024;
  const { clock, backend } = input.tools;
  const after = { path, maxBytes };
  const { blobs } = backend;
  const stored = await storeChanges({ blobs, clock, before, after, folder, signal });
  if (stored.leftOut.length > 0) {
    await shipper.note({
      level: "warn",
      topic: "artifacts",
      message: `${stored.leftOut.length} changed files are not kept: too large together, or no files to keep (pipes, devices, links that lead out)`,
      payload: { paths: stored.leftOut.slice(0, 100) },
    });
  }
  return stored;
}
