/** What runs in the sandbox for each kind of work, and what the result says of it. */
import { create } from "@bufbuild/protobuf";
import {
  type AgentReport,
  AgentReportSchema,
  type AgentWork,
  type JobSpec,
  LogStream,
} from "@devmesh/gen/devmesh/api/v1/job_pb";
import { DevmeshError } from "@devmesh/mesh/errors";
import type { ExecSpec, ExitState, Sandbox } from "../drivers/driver.ts";
import { AgentRecordSplitter, type AgentReportRecord } from "./agent-records.ts";
import type { EventShipper } from "./event-shipper.ts";
import type { LogDigest } from "./log-digest.ts";
import { pump } from "./pump.ts";

/** Where tools are in every sandbox. */
export const sandboxPaths = {
  node: "/opt/devmesh/bin/node",
  agent: "/opt/devmesh/agent/coder.mjs",
  input: "/opt/devmesh/job/input.json",
  backend: "/run/devmesh/backend.sock",
} as const;

/** What the work ended with. */
export interface WorkOutcome {
  readonly exit: ExitState;
  /** Absent for commands. */
  readonly agent?: AgentReport;
  /** Why an agent's work is not done although it ended. Empty: it is done. */
  readonly agentFailure: string;
}

/** What work is done with. */
export interface WorkContext {
  readonly sandbox: Sandbox;
  readonly shipper: EventShipper;
  readonly digest: LogDigest;
  readonly jobId: string;
  readonly jobToken: string;
  /** Aborts when the work shall stop: signal, grace, kill. */
  readonly stop: AbortSignal;
}

/** Does the work of a spec in a sandbox. Throws COMMAND_NOT_FOUND. */
export async function doWork(spec: JobSpec, context: WorkContext): Promise<WorkOutcome> {
  const { work } = spec;
  switch (work.case) {
    case "command": {
      const exit = await run(context, { argv: work.value.argv, env: work.value.env });
      return { exit, agentFailure: "" };
    }
    case "agent":
      return doAgent(work.value, context);
    case undefined:
      throw new DevmeshError("INVALID_FIELD", "work: is missing");
  }
}

async function doAgent(work: AgentWork, context: WorkContext): Promise<WorkOutcome> {
  const testsBefore = await runTests(work, context, "before");
  let report: AgentReportRecord | undefined;
  const splitter = new AgentRecordSplitter();
  const exit = await run(context, agentExec(context), async (chunk) => {
    for (const part of splitter.push(chunk)) {
      if (Buffer.isBuffer(part)) await log(context, LogStream.STDERR, part);
      else if (part.type === "note") context.shipper.note(part.note);
      else report = part.report;
    }
  });
  const rest = splitter.end();
  if (rest.length > 0) await log(context, LogStream.STDERR, rest);
  const testsAfter = context.stop.aborted ? "" : await runTests(work, context, "after");
  return {
    exit,
    agent: toReport(report, testsBefore, testsAfter),
    agentFailure: failureOf(report, testsAfter),
  };
}

function agentExec({ jobId, jobToken }: WorkContext): ExecSpec {
  const backend = `unix:${sandboxPaths.backend}`;
  return {
    argv: [sandboxPaths.node, sandboxPaths.agent],
    env: {
      BACKEND_URL: backend,
      // The backend is the one destination: it forwards to the context plane and to the models.
      MCP_URL: backend,
      OLLAMA_BASE_URL: backend,
      DEVMESH_TOKEN: jobToken,
      DEVMESH_JOB_ID: jobId,
      DEVMESH_AGENT_INPUT: sandboxPaths.input,
      PATH: "/opt/devmesh/bin:/usr/local/bin:/usr/bin:/bin",
    },
  };
}

/** Runs the test command and says how it went; empty when there is none. */
async function runTests(work: AgentWork, context: WorkContext, when: string) {
  if (work.testArgv.length === 0 || context.stop.aborted) return "";
  const env = { PATH: "/opt/devmesh/bin:/usr/local/bin:/usr/bin:/bin" };
  const exit = await run(context, { argv: work.testArgv, env });
  const verdict = exit.exitCode === 0 ? "passed" : "failed";
  context.shipper.note({
    level: "info",
    topic: "agent.tests",
    message: `tests ${when} the work: ${verdict}`,
    payload: { when, verdict, exitCode: exit.exitCode },
  });
  return verdict;
}

function run(
  context: WorkContext,
  exec: ExecSpec,
  onStderr?: (chunk: Buffer) => Promise<void>,
): Promise<ExitState> {
  return pump({
    sandbox: context.sandbox,
    exec,
    stop: context.stop,
    onOutput: (stream, chunk) => {
      if (stream === "stderr" && onStderr !== undefined) return onStderr(chunk);
      return log(context, stream === "stderr" ? LogStream.STDERR : LogStream.STDOUT, chunk);
    },
  });
}

async function log({ shipper, digest }: WorkContext, stream: LogStream, chunk: Buffer) {
  digest.update(chunk);
  await shipper.log(stream, chunk);
}

function toReport(
  report: AgentReportRecord | undefined,
  testsBefore: string,
  testsAfter: string,
): AgentReport {
  return create(AgentReportSchema, {
    summary: report?.summary ?? "",
    steps: report?.steps ?? 0,
    inputTokens: BigInt(report?.inputTokens ?? 0),
    outputTokens: BigInt(report?.outputTokens ?? 0),
    model: report?.model ?? "",
    testsBefore,
    testsAfter,
  });
}

function failureOf(report: AgentReportRecord | undefined, testsAfter: string): string {
  if (report === undefined) return "the agent ended without a report";
  if (!report.finished) return report.message || `the agent stopped: ${report.stopped}`;
  return testsAfter === "failed" ? "the agent finished, but the test command fails" : "";
}
