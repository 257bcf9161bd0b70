/** How an attempt is judged: from what the work ended with to the result's outcome and reason. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { JobResultSchema } from "@devmesh/gen/devmesh/api/v1/job_result_pb";
import { JobStatus } from "@devmesh/gen/devmesh/api/v1/job_status_pb";
import { toDevmeshError } from "@devmesh/mesh/errors";
import type { ExitState } from "../drivers/driver.ts";
import type { AttemptOutcome } from "./attempt.ts";
import { cutText } from "./cut-text.ts";
import { toUsage } from "./sandbox-notes.ts";

/** The patch in the result is cut here, in bytes: the contract's bound. The artifact has all of it. */
const maxInlinePatchBytes = 256 * 1024;

/** What a failure says in words is cut here, in bytes. */
const maxMessageBytes = 2_000;

/** The part of a result that the work decides. */
export type Verdict = MessageInitShape<typeof JobResultSchema> & { readonly outcome: JobStatus };

/** Why work is ended before its own end. */
export type Stop =
  | { readonly kind: "cancel" | "shutdown" }
  /** `limitMs` is the limit that was reached. */
  | { readonly kind: "timeout" | "silent"; readonly limitMs: number };

type Left = Omit<MessageInitShape<typeof JobResultSchema>, "$typeName">;

/**
 * Judges work that was done, or stopped for the reason given. Undefined: the
 * job goes back to the queue.
 */
export function judge(
  { work, stored, storeFailure, usage, sandboxRemoved }: AttemptOutcome,
  stop: Stop | undefined,
): Verdict | undefined {
  const { exit, stopped, agent, agentFailure } = work;
  const patch = cutText(stored.patch, maxInlinePatchBytes);
  const left: Left = {
    exitCode: exit.exitCode,
    artifacts: [...stored.artifacts],
    ...(agent && { agent: { ...agent, patch } }),
    ...(usage && { usage: toUsage(usage) }),
  };
  if (stopped && stop !== undefined) return judgeStop(stop, left);
  if (sandboxRemoved) {
    return failed("SANDBOX_FAILED", "the sandbox was deleted while the program ran in it", left);
  }
  if (exit.outOfMemory) {
    return failed("OUT_OF_MEMORY", "the memory limit ended the program", left);
  }
  const cap = capThatEnded(exit);
  // That an agent ended badly says less than the cap that made it.
  if (agentFailure !== undefined && (cap === undefined || agentFailure.reason !== "EXIT_STATUS")) {
    return failed(agentFailure.reason, agentFailure.message, left);
  }
  if (cap !== undefined) return failed(cap.reason, cap.message, left);
  if (exit.exitCode !== 0) {
    return failed("EXIT_STATUS", `the program ended with status ${exit.exitCode}`, left);
  }
  if (storeFailure !== undefined) {
    const { reason, message } = storeFailure;
    return failed(reason, `the work is done, but its files are not kept: ${message}`, left);
  }
  return { ...left, outcome: JobStatus.SUCCEEDED };
}

/** A cap is to blame only for a program that failed: one that lived with it has done its work. */
function capThatEnded({ exitCode, met = [] }: ExitState) {
  if (exitCode === 0) return undefined;
  const told = `the program ended with status ${exitCode}`;
  if (met.includes("disk")) {
    return { reason: "DISK_FULL", message: `${told}, and its disk limit was reached` };
  }
  if (met.includes("pids")) {
    return { reason: "PIDS_LIMIT", message: `${told}, and its limit of processes was reached` };
  }
  return undefined;
}

/** Judges an attempt that broke before the work's end. */
export function judgeFailure(error: unknown): Verdict {
  const { reason, message } = toDevmeshError(error);
  return failed(reason, message);
}

/** Judges work that was stopped. Undefined: the job goes back to the queue. */
export function judgeStop(stop: Stop, left: Left = {}): Verdict | undefined {
  switch (stop.kind) {
    case "cancel":
      // The store says who cancelled it and why.
      return { ...left, outcome: JobStatus.CANCELLED, reason: "CANCELLED" };
    case "timeout":
      return failed("TIMEOUT", `the run timeout of ${seconds(stop.limitMs)} was reached`, left);
    case "silent":
      return failed("SILENT", `no output for ${seconds(stop.limitMs)}, the silence timeout`, left);
    case "shutdown":
      return undefined;
  }
}

function failed(reason: string, message: string, left: Left = {}): Verdict {
  const text = cutText(message, maxMessageBytes);
  return { ...left, outcome: JobStatus.FAILED, reason, message: text };
}

function seconds(ms: number): string {
  return `${ms / 1000} s`;
}
