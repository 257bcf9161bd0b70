/**
 * Runs an agent of another maker in a sandbox: what it is given, what it
 * tells, and the bounds that it is held to. Each agent's own ways are in
 * `harnesses/`.
 */
import type { AgentWork } from "@devmesh/gen/devmesh/api/v1/agent_work_pb";
import { LogStream } from "@devmesh/gen/devmesh/api/v1/job_event_pb";
import { invalidField } from "@devmesh/mesh/errors";
import type { Clock } from "@devmesh/mesh/runtime";
import type { ExecSpec, ReadOnlyMount, Sandbox } from "../../drivers/driver.ts";
import { type Harness, type HarnessReader, harnessFolder } from "../../harnesses/harness.ts";
import { harnessOf } from "../../harnesses/harnesses.ts";
import { findInstalled } from "../../harnesses/installed.ts";
import { cutText } from "../cut-text.ts";
import type { EventShipper } from "../event-shipper.ts";
import { type LinePart, LineSplitter } from "../line-splitter.ts";
import { type PumpEnd, pump, type StopSignals } from "../pump.ts";
import type { SilenceWatch } from "../silence-watch.ts";
import type { AgentInput } from "./input.ts";
import type { AgentReportRecord } from "./records.ts";

/** The port of the sandbox's own loopback that leads to the backend. */
export const modelPort = 7107;

/** A longer line of an agent is log, whatever it says. */
const maxLineBytes = 1024 * 1024;

/** The contract's bounds of a report. */
const maxSummaryBytes = 65_536;
const maxMessageBytes = 8_192;
const maxCommandBytes = 1_024;
/** A day: no work is longer. */
const maxMs = 86_400_000;

/** The longest prompt: a program's argument is bounded by the kernel to 128 KiB. */
const maxPromptBytes = 120 * 1024;

/** An agent that is ready for a sandbox. */
export interface ForeignAgent {
  readonly harness: Harness;
  readonly mounts: readonly ReadOnlyMount[];
  readonly task: string;
  readonly prompt: string;
  readonly model: string;
  readonly argv: readonly string[];
  /** Bounds that the job names. 0: none. */
  readonly maxSteps: number;
  readonly maxTokens: number;
}

/** What an agent is prepared with. */
export interface ForeignAgentTools {
  /** Where agents lie on this host. */
  readonly harnessDir: string;
  /** The Node binary of this host. */
  readonly nodePath: string;
  readonly shipper: EventShipper;
  /** The task, the model and the context as devmesh's own agent gets them. */
  readonly input: () => Promise<AgentInput>;
}

/**
 * Prepares the agent that the work names; undefined for devmesh's own. Throws
 * INVALID_FIELD for a bound that this agent cannot be held to, UNAVAILABLE
 * with the remedy where it is not on this host.
 */
export async function prepareForeignAgent(
  work: AgentWork,
  tools: ForeignAgentTools,
): Promise<ForeignAgent | undefined> {
  const harness = harnessOf(work.harness);
  if (harness === undefined) return undefined;
  refuseUnheld(work, harness);
  const node = { hostPath: tools.nodePath, sandboxPath: "/opt/devmesh/bin/node" };
  const mounts: ReadOnlyMount[] = [node];
  let version = "";
  if (harness.isInstalled) {
    const found = await findInstalled(tools.harnessDir, harness.name);
    version = found.version;
    mounts.push({ hostPath: found.folder, sandboxPath: harnessFolder });
  }
  const input = await tools.input();
  const { task, model } = input;
  const prompt = promptOf(input);
  const { harnessArgv: argv, maxSteps, maxTokens } = work;
  const agent = { harness, mounts, task, prompt, model, argv, maxSteps, maxTokens };
  // Refused before anything is made for it.
  execOf(agent, "");
  await tools.shipper.note({
    level: "info",
    topic: "agent.harness",
    message: `the work is done by ${harness.name} ${version}`.trimEnd(),
    payload: { harness: harness.name, version, model, promptBytes: Buffer.byteLength(prompt) },
  });
  return agent;
}

function execOf({ harness, task, prompt, model, argv }: ForeignAgent, token: string): ExecSpec {
  const baseUrl = `http://127.0.0.1:${modelPort}/v1`;
  return harness.exec({ task, prompt, model, argv, baseUrl, token });
}

/** A bound that this harness would not hold is refused, not forgotten. */
function refuseUnheld(work: AgentWork, { name, tells }: Harness): void {
  const refuse = (field: string, why: string) => {
    throw invalidField(`agent.${field}`, `${name} cannot be held to it: ${why}`);
  };
  if (work.maxSteps > 0 && !tells.steps) refuse("max_steps", "it does not tell its steps");
  if (work.maxTokens > 0 && !tells.tokens) {
    refuse("max_tokens", "it does not tell its tokens while it works");
  }
}

/** The task, what proves it done, and as much of the context as there is room for. */
function promptOf({ task, testArgv, protectedPaths, contextPack }: AgentInput): string {
  const [program, flag, script] = testArgv;
  const isShell = testArgv.length === 3 && program === "sh" && flag === "-c";
  const proof = isShell ? script : testArgv.map((part) => JSON.stringify(part)).join(" ");
  const told = [
    task,
    ...(proof ? [`The task is done when this command succeeds: ${proof}`] : []),
    ...(protectedPaths.length > 0
      ? [`These files must stay as they are: ${protectedPaths.join(", ")}`]
      : []),
  ].join("\n\n");
  const context = typeof contextPack?.text === "string" ? contextPack.text : "";
  const whole = `${told}\n\nWhat may help, from the project's memory:\n\n${context}`;
  return context !== "" && Buffer.byteLength(whole) <= maxPromptBytes ? whole : told;
}

/** What an agent runs in. */
export interface ForeignContext extends StopSignals {
  readonly sandbox: Sandbox;
  readonly shipper: EventShipper;
  readonly silence: SilenceWatch;
  readonly clock: Clock;
  readonly jobToken: string;
}

/** Runs it to its end. Throws COMMAND_NOT_FOUND, and the reason of a stop before the start. */
export async function runForeignAgent(
  agent: ForeignAgent,
  context: ForeignContext,
  onLog: (stream: LogStream, chunk: Buffer) => Promise<void>,
): Promise<PumpEnd & { readonly report: AgentReportRecord }> {
  const { sandbox, clock, stop, fenced, graceMs, shipper, silence } = context;
  const reader = agent.harness.reader();
  const lines = new LineSplitter(maxLineBytes);
  const spent = new AbortController();
  // Lines that are no records go on together: one that writes many short ones has few events.
  let plain: Buffer[] = [];
  const passPlain = async () => {
    const bytes = Buffer.concat(plain);
    plain = [];
    if (bytes.length > 0) await onLog(LogStream.STDOUT, bytes);
  };
  const takeParts = async (parts: readonly LinePart[]) => {
    for (const { type, bytes } of parts) {
      const notes = type === "line" ? reader.take(bytes.toString("utf8").trimEnd()) : undefined;
      if (notes === undefined) {
        plain.push(bytes);
        continue;
      }
      await passPlain();
      for (const note of notes) await shipper.note(note);
      if (overrun(agent, reader) !== undefined) spent.abort();
    }
    await passPlain();
  };
  const onOutput = (stream: "stdout" | "stderr", chunk: Buffer) =>
    stream === "stderr" ? onLog(LogStream.STDERR, chunk) : takeParts(lines.push(chunk));
  const ended = await pump({
    sandbox,
    exec: execOf(agent, context.jobToken),
    ...{ clock, fenced, graceMs },
    stop: AbortSignal.any([stop, spent.signal]),
    onStopStep: (step) => {
      // A stop by its own bounds is nobody's cancel.
      if (stop.aborted) context.onStopStep(step);
    },
    onOutput: (stream, chunk) => silence.hear(onOutput(stream, chunk)),
  });
  const rest = lines.end();
  if (rest.length > 0) await takeParts([{ type: "line", bytes: rest }]);
  const over = spent.signal.aborted ? overrun(agent, reader) : undefined;
  const report = recordOf(reader, ended.exitCode, over);
  return { ...ended, stopped: ended.stopped && stop.aborted, report };
}

/** The agent's account in the form of devmesh's own agent. */
function recordOf(
  reader: HarnessReader,
  exitCode: number,
  over: ReturnType<typeof overrun>,
): AgentReportRecord {
  const { summary, finished, message, commands } = reader.report(exitCode);
  return {
    ...reader.usage,
    // Which model answered is in the ledger; the agent does not know.
    ...{ summary: cutText(summary, maxSummaryBytes), model: "" },
    ...{ finished, stopped: finished ? "" : "error", message: cutText(message, maxMessageBytes) },
    ...(over && { finished: false, ...over }),
    // What it is not known to tell.
    ...{ reason: "", costMicros: 0, unpricedSteps: 0, used: 0, limit: 0 },
    commands: commands.map(({ command, exitCode: status, ms }) => ({
      command: cutText(command, maxCommandBytes),
      exitCode: toStatus(status),
      ms: Math.min(ms, maxMs),
    })),
  };
}

/** The contract's number; -1 for what is none. */
function toStatus(status: number): number {
  return Number.isInteger(status) && Math.abs(status) < 2 ** 31 ? status : -1;
}

/** The bound that the agent has gone beyond. */
function overrun(
  { harness, maxSteps, maxTokens }: ForeignAgent,
  { usage }: HarnessReader,
): { readonly stopped: string; readonly message: string } | undefined {
  const { steps, inputTokens, outputTokens } = usage;
  if (maxSteps > 0 && steps > maxSteps) {
    const message = `${harness.name} was stopped: it took more than ${maxSteps} steps`;
    return { stopped: "steps", message };
  }
  const tokens = inputTokens + outputTokens;
  if (maxTokens > 0 && harness.tells.tokens && tokens > maxTokens) {
    const message = `${harness.name} was stopped: it used ${tokens} of ${maxTokens} tokens`;
    return { stopped: "tokens", message };
  }
  return undefined;
}
