/** What runs in the sandbox for each kind of work, and what the result says of it. */
import { create } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import {
  type AgentReport,
  AgentReportSchema,
  type AgentWork,
} from "@devmesh/gen/devmesh/api/v1/agent_work_pb";
import { LogStream } from "@devmesh/gen/devmesh/api/v1/job_event_pb";
import type { JobSpec } from "@devmesh/gen/devmesh/api/v1/job_pb";
import { DevmeshError, isReason, toDevmeshError } from "@devmesh/mesh/errors";
import type { Clock } from "@devmesh/mesh/runtime";
import type { ExecSpec, ExitState, Sandbox } from "../drivers/driver.ts";
import { type ForeignAgent, runForeignAgent } from "./agent/foreign-agent.ts";
import { type AgentRecord, AgentRecordSplitter, type AgentReportRecord } from "./agent/records.ts";
import { type AgentSetup, budgetNames, type RoundEnd, runRounds } from "./agent/rounds.ts";
import type { EventShipper } from "./event-shipper.ts";
import type { LogDigest } from "./log-digest.ts";
import { type PumpEnd, pump, type StopSignals } from "./pump.ts";
import type { SilenceWatch } from "./silence-watch.ts";

/** Where tools are in every sandbox. */
export const sandboxPaths = {
  node: "/opt/devmesh/bin/node",
  agent: "/opt/devmesh/agent/coder.mjs",
  backend: "/run/devmesh/backend.sock",
} as const;

/** Where the agent and its tests look for programs: devmesh's Node among them. */
const searchPath = "/opt/devmesh/bin:/usr/local/bin:/usr/bin:/bin";

/** What the work ended with. */
export interface WorkOutcome {
  readonly exit: ExitState;
  /** True if it was told to stop before it had ended by itself. */
  readonly stopped: boolean;
  /** Absent for commands. */
  readonly agent?: AgentReport;
  /** Why an agent's work is not done although it ended. Absent: it is done. */
  readonly agentFailure?: { readonly reason: string; readonly message: string };
}

/** What work is done with. */
export interface WorkContext extends StopSignals {
  readonly sandbox: Sandbox;
  readonly shipper: EventShipper;
  readonly digest: LogDigest;
  readonly silence: SilenceWatch;
  readonly clock: Clock;
  readonly jobId: string;
  readonly jobToken: string;
  /** Variables that every program of the job gets; its own win. */
  readonly env: Readonly<Record<string, string>>;
  /** The agent of another maker that does the work. Absent: devmesh's own. */
  readonly foreign?: ForeignAgent;
  /** Absent for commands, and for agents of other makers. */
  readonly agent?: AgentSetup | undefined;
}

/** Does the work of a spec in a sandbox. Throws COMMAND_NOT_FOUND, and the reason of a stop before the start. */
export async function doWork(spec: JobSpec, context: WorkContext): Promise<WorkOutcome> {
  const { work } = spec;
  switch (work.case) {
    case "command": {
      const { stopped, ...exit } = await run(context, work.value);
      return { exit, stopped };
    }
    case "agent":
      return context.foreign === undefined
        ? doAgent(work.value, context)
        : doForeign(work.value, context.foreign, context);
    case undefined:
      throw new DevmeshError("INVALID_FIELD", "work: is missing");
  }
}

async function doAgent(work: AgentWork, context: WorkContext): Promise<WorkOutcome> {
  const setup = context.agent;
  if (setup === undefined) throw new DevmeshError("INTERNAL", "an agent without its setup");
  const { shipper, silence, stop } = context;
  const before = setup.past.testsBefore ?? (await runTests(work, context, "before")).verdict;
  const runOnce = (input: Uint8Array) => runAgentOnce(context, setup, input);
  const end = await runRounds({ work, setup, shipper, silence, stop, runOnce });
  const { stopped: agentStopped, ...exit } = end.exit;
  const { report, unanswered } = end;
  const isLate = setup.deadline.isReached && unanswered !== "";
  const after = agentStopped || isLate ? undefined : await runTests(work, context, "after");
  const failure =
    unanswered === ""
      ? failureOf(report, exit, after?.verdict ?? "")
      : { reason: "LIMIT", message: unanswered };
  const stopped = agentStopped || after?.stopped === true;
  if (!stopped) await noteEnd(context, failure);
  return {
    exit,
    stopped,
    agent: toReport(report, before, after?.verdict ?? ""),
    ...(failure && { agentFailure: failure }),
  };
}

/** One start of the agent, to its end: its records are told from its log. */
async function runAgentOnce(
  context: WorkContext,
  { past, checkpoints }: AgentSetup,
  input: Uint8Array,
): Promise<RoundEnd> {
  const reports: AgentReportRecord[] = [];
  const splitter = new AgentRecordSplitter();
  const takePart = async (part: Buffer | AgentRecord) => {
    if (Buffer.isBuffer(part)) return log(context, LogStream.STDERR, part);
    switch (part.type) {
      case "note":
        await context.shipper.note(part.note);
        past.transcript.take(part.note.topic, part.note.payload ?? {});
        return;
      case "checkpoint":
        return checkpoints.take(part.piece);
      case "checkpointsEnd":
        return checkpoints.end(part.reason);
      case "report":
        reports.push(part.report);
        return;
      default:
        part satisfies never;
    }
  };
  const exit = await run(context, { ...agentExec(context), input }, async (chunk) => {
    for (const part of splitter.push(chunk)) await takePart(part);
  });
  await log(context, LogStream.STDERR, splitter.end());
  await checkpoints.settled();
  return { exit, report: reports.at(-1) };
}

/** Tells whether another attempt may go on from here, or must begin anew. */
async function noteEnd({ shipper }: WorkContext, failure: WorkOutcome["agentFailure"]) {
  const done = failure === undefined;
  await shipper.note({
    level: done ? "info" : "warn",
    topic: "agent.end",
    message: done ? "the agent's work is done" : `the agent's work failed: ${failure.reason}`,
    payload: { done },
  });
}

/** An agent of another maker: its own account is its report, and the tests judge it alike. */
async function doForeign(
  work: AgentWork,
  foreign: ForeignAgent,
  context: WorkContext,
): Promise<WorkOutcome> {
  const before = await runTests(work, context, "before");
  const onLog = (stream: LogStream, chunk: Buffer) => log(context, stream, chunk);
  const { stopped: agentStopped, report, ...exit } = await runForeignAgent(foreign, context, onLog);
  const after = agentStopped ? undefined : await runTests(work, context, "after");
  const failure = failureOf(report, exit, after?.verdict ?? "");
  return {
    exit,
    stopped: agentStopped || after?.stopped === true,
    agent: toReport(report, before.verdict, after?.verdict ?? ""),
    ...(failure && { agentFailure: failure }),
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
      // Standard input: it differs with each start, and a sandbox may be made ahead.
      DEVMESH_AGENT_INPUT: "-",
      PATH: searchPath,
    },
  };
}

/** How a run of the test command went. */
interface TestRun {
  /** Empty: there is no test command, or it was stopped. */
  readonly verdict: "" | "passed" | "failed";
  readonly stopped: boolean;
}

/** After the work nothing of it runs any more: what the tests see is what is collected. */
async function runTests(
  work: AgentWork,
  context: WorkContext,
  when: "before" | "after",
): Promise<TestRun> {
  if (work.testArgv.length === 0) return { verdict: "", stopped: false };
  if (context.stop.aborted) return { verdict: "", stopped: true };
  if (when === "after") await context.sandbox.endPrograms();
  const { exitCode, stopped } = await runTestCommand(work.testArgv, context);
  if (stopped) return { verdict: "", stopped };
  const verdict = exitCode === 0 ? "passed" : "failed";
  await context.shipper.note({
    level: "info",
    topic: "agent.tests",
    message: `tests ${when} the work: ${verdict}`,
    payload: { when, verdict, exitCode },
  });
  return { verdict, stopped };
}

/** A test command that is not there (yet: the agent may be asked to write it) fails as a shell's would. */
async function runTestCommand(argv: readonly string[], context: WorkContext) {
  try {
    return await run(context, { argv, env: { PATH: searchPath } });
  } catch (error) {
    const { reason, message } = toDevmeshError(error);
    if (reason !== "COMMAND_NOT_FOUND") throw error;
    await log(context, LogStream.STDERR, Buffer.from(`${message}\n`));
    return { exitCode: 127, stopped: false };
  }
}

function run(
  context: WorkContext,
  exec: ExecSpec,
  onStderr?: (chunk: Buffer) => Promise<void>,
): Promise<PumpEnd> {
  const { sandbox, clock, stop, fenced, graceMs, onStopStep } = context;
  const { argv, input } = exec;
  const env = { ...context.env, ...exec.env };
  const take = (stream: "stdout" | "stderr", chunk: Buffer) => {
    if (stream === "stderr" && onStderr !== undefined) return onStderr(chunk);
    return log(context, stream === "stderr" ? LogStream.STDERR : LogStream.STDOUT, chunk);
  };
  return pump({
    ...{ sandbox, exec: { argv, env, ...(input && { input }) }, clock },
    ...{ stop, fenced, graceMs, onStopStep },
    onOutput: (stream, chunk) => context.silence.hear(take(stream, chunk)),
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
  const commands = (report?.commands ?? []).map(({ command, exitCode, ms }) => {
    return { command, exitCode, duration: durationFromMs(ms) };
  });
  return create(AgentReportSchema, {
    summary: report?.summary ?? "",
    steps: report?.steps ?? 0,
    inputTokens: BigInt(report?.inputTokens ?? 0),
    outputTokens: BigInt(report?.outputTokens ?? 0),
    model: report?.model ?? "",
    testsBefore,
    testsAfter,
    costMicros: BigInt(report?.costMicros ?? 0),
    unpricedSteps: report?.unpricedSteps ?? 0,
    commands,
  });
}

function failureOf(
  report: AgentReportRecord | undefined,
  { exitCode }: ExitState,
  testsAfter: string,
): WorkOutcome["agentFailure"] {
  if (report === undefined) {
    const message = `the agent ended with status ${exitCode} and without a report`;
    return { reason: "EXIT_STATUS", message };
  }
  if (!report.finished) {
    const isBudget = budgetNames.includes(report.stopped);
    const reason = isBudget ? "LIMIT" : isReason(report.reason) ? report.reason : "EXIT_STATUS";
    return { reason, message: report.message || `the agent stopped: ${report.stopped}` };
  }
  if (testsAfter !== "failed") return undefined;
  return { reason: "EXIT_STATUS", message: "the agent finished, but the test command fails" };
}
