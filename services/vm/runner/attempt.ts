/** What happens to one attempt on this host: sandbox, workspace, work, changes. */
import type { AgentWork } from "@devmesh/gen/devmesh/api/v1/agent_work_pb";
import { type DevmeshError, toDevmeshError } from "@devmesh/mesh/errors";
import type { Logger } from "@devmesh/mesh/log";
import type { Sandbox, SandboxStats } from "../drivers/driver.ts";
import { noPast } from "./agent/past.ts";
import { agentMounts, agentSetup, foreignAgent, pastOf } from "./agent/setup.ts";
import { measureAgent } from "./agent/telemetry.ts";
import type { AttemptInput } from "./attempt-input.ts";
import { makeSandbox } from "./attempt-sandbox.ts";
import type { EventShipper } from "./event-shipper.ts";
import { doWork, type WorkOutcome } from "./work.ts";
import { nothingStored, type StoredChanges } from "./workspace/artifacts.ts";
import { protectedChanges } from "./workspace/protected-paths.ts";
import { collectChanges, putWorkspace } from "./workspace/sandbox-workspace.ts";

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
  await using cleanup = new AsyncDisposableStack();
  const foreign = agent && (await foreignAgent(input, agent));
  const mounts = foreign?.mounts ?? (agent === undefined ? [] : agentMounts(input));
  const past = agent === undefined ? noPast() : await pastOf(input, agent);
  const isOwn = agent !== undefined && foreign === undefined;
  const kind = isOwn ? "own" : foreign && "foreign";
  const made = await makeSandbox(input, { mounts, agent: kind }, cleanup);
  const { sandbox, maxBytes, env } = made;
  const { before, kept } = await putWorkspace(input, sandbox, maxBytes, past);
  const setup = isOwn ? await agentSetup(input, agent, past, kept) : undefined;
  const { clock } = tools;
  const { jobToken } = lease;
  const stops = { stop, fenced, graceMs, onStopStep };
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
    const stored = await collectChanges(input, sandbox, maxBytes, before);
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
