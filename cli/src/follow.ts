/** Owns following a job to its end: its log to the outputs, its end to an exit code. */
import {
  type Devmesh,
  type JobEvent,
  type JobResult,
  JobStatus,
  LogStream,
  type WatchOptions,
} from "@devmesh/sdk";
import { eventToJson } from "./event-json.ts";
import { exitCodes } from "./exit-codes.ts";
import { formatSteps } from "./job-text.ts";
import { showDollars } from "./money.ts";
import type { Output } from "./output.ts";
import { showStatus } from "./status.ts";
import type { Paint } from "./style.ts";
import { formatBytes, inline } from "./table.ts";

/** What following needs. */
export interface FollowDeps {
  readonly devmesh: Pick<Devmesh, "jobs">;
  readonly output: Output;
  /** Colour for the talk. */
  readonly paint: Paint;
}

/**
 * Follows a job; its SHA-256 is checked at the end. The log goes out as it
 * is, stdout to stdout and stderr to stderr; with JSON one event a line.
 */
export async function followJob(
  deps: FollowDeps,
  jobId: string,
  options: WatchOptions = {},
): Promise<JobResult> {
  const { devmesh, output, paint } = deps;
  const onState: NonNullable<WatchOptions["onState"]> = (state) => {
    if (state.state === "reconnecting") {
      void output.talk(paint("yellow", `reconnecting: ${inline(state.error.message)}`));
    }
  };
  let result: JobResult | undefined;
  for await (const event of devmesh.jobs.watch(jobId, { onState, ...options })) {
    if (output.json) await output.document(eventToJson(event));
    else await showEvent(event, output, paint);
    if (event.kind.case === "result") result = event.kind.value;
  }
  if (result === undefined) throw new Error("the job's events ended without a result");
  return result;
}

async function showEvent({ kind, seq }: JobEvent, output: Output, paint: Paint): Promise<void> {
  switch (kind.case) {
    case "log":
      if (kind.value.stream === LogStream.STDERR) await output.errorData(kind.value.data);
      else await output.data(kind.value.data);
      return;
    case "status": {
      const { status, attempt, runner, detail } = kind.value;
      const facts = [attempt > 1 && `attempt ${attempt}`, runner && `on ${runner}`, inline(detail)];
      const told = facts.filter(Boolean).join(", ");
      await output.talk(
        `${showStatus(status, paint)}${told === "" ? "" : paint("grey", ` ${told}`)}`,
      );
      return;
    }
    case "note":
      await output.talk(
        paint("grey", `[${inline(kind.value.topic)}] ${inline(kind.value.message, 200)}`),
      );
      return;
    case "trim":
      await output.talk(
        paint("yellow", `events up to ${seq} are gone: ${inline(kind.value.detail)}`),
      );
      return;
    case "result":
      await showResult(kind.value, output, paint);
      return;
    case undefined:
      return;
    default:
      kind satisfies never;
  }
}

async function showResult(result: JobResult, output: Output, paint: Paint): Promise<void> {
  const why = [result.reason, inline(result.message, 300)].filter(Boolean).join(": ");
  await output.talk(`${showStatus(result.outcome, paint)}${why === "" ? "" : ` ${why}`}`);
  const { agent, cancel } = result;
  if (cancel !== undefined) await output.talk(paint("grey", `cancel: ${formatSteps(cancel)}`));
  if (agent !== undefined) {
    await output.talk(
      `${agent.steps} steps, ${agent.inputTokens} + ${agent.outputTokens} tokens, ${inline(agent.model)}`,
    );
    if (agent.costMicros > 0n || agent.unpricedSteps > 0) {
      const unknown =
        agent.unpricedSteps > 0 ? `, ${agent.unpricedSteps} steps without a price` : "";
      await output.talk(`cost: ${showDollars(agent.costMicros)}${unknown}`);
    }
    if (agent.commands.length > 0) await output.talk(`${agent.commands.length} commands run`);
    if (agent.testsAfter !== "") {
      await output.talk(
        `tests: ${agent.testsBefore || "not run"} before, ${agent.testsAfter} after`,
      );
    }
    if (agent.summary !== "") await output.talk(inline(agent.summary, 2_000));
  }
  for (const { name, sizeBytes } of result.artifacts) {
    await output.talk(`artifact ${inline(name, 500)} (${formatBytes(sizeBytes)})`);
  }
}

/** Reasons that say which time limit ended a job. */
const timeLimits: readonly string[] = ["TIMEOUT", "SILENT", "QUEUE_TIMEOUT"];

/** The exit code of a job's end; the program's own where `own` is asked for. */
export function exitCodeOfResult(result: JobResult, own: boolean): number {
  if (result.outcome === JobStatus.SUCCEEDED) return exitCodes.ok;
  if (result.outcome === JobStatus.CANCELLED) return exitCodes.interrupted;
  if (timeLimits.includes(result.reason)) return exitCodes.timeout;
  if (own && result.exitCode !== undefined && result.exitCode !== 0) return result.exitCode;
  return exitCodes.failed;
}
