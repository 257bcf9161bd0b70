/**
 * An agent's work from its start to its end: it may stop to ask because a budget
 * has ended, and goes on in the same sandbox when it is answered. How one start
 * of the agent runs is left to `work.ts`.
 */
import { durationMs } from "@bufbuild/protobuf/wkt";
import {
  type AgentAnswer,
  type AgentWork,
  BudgetEnd,
} from "@devmesh/gen/devmesh/api/v1/agent_work_pb";
import type { EventShipper } from "../event-shipper.ts";
import type { PumpEnd } from "../pump.ts";
import type { RunDeadline } from "../run-deadline.ts";
import type { SilenceWatch } from "../silence-watch.ts";
import type { AgentAnswers } from "./answers.ts";
import type { AgentCheckpoints } from "./checkpoints.ts";
import { type AgentInput, agentSeconds } from "./input.ts";
import type { AgentPast, OpenQuestion } from "./past.ts";
import type { AgentReportRecord } from "./records.ts";

/** What an agent's work needs besides its sandbox. */
export interface AgentSetup {
  readonly input: AgentInput;
  readonly past: AgentPast;
  readonly answers: AgentAnswers;
  readonly deadline: RunDeadline;
  readonly checkpoints: AgentCheckpoints;
  /** True: the files of earlier work are in the work dir. */
  readonly hasFiles: boolean;
}

/** How one start of the agent ended. */
export interface RoundEnd {
  readonly exit: PumpEnd;
  readonly report: AgentReportRecord | undefined;
}

/** How all of it ended. */
export interface AgentEnd extends RoundEnd {
  /** Why nobody let it go on. Empty: it was not asked, or it went on. */
  readonly unanswered: string;
}

/** What the rounds are made of. */
export interface AgentRoundsOptions {
  readonly work: AgentWork;
  readonly setup: AgentSetup;
  readonly shipper: EventShipper;
  readonly silence: SilenceWatch;
  readonly stop: AbortSignal;
  /** Runs the agent once with this input. */
  readonly runOnce: (input: Uint8Array) => Promise<RoundEnd>;
}

/** The budgets that may end, as a report names them. */
export const budgetNames: readonly string[] = ["steps", "tokens", "cost", "time"];

/** An agent that was never started in this attempt: its question waits. */
const notStarted: PumpEnd = { exitCode: 1, outOfMemory: false, stopped: false };

/** Runs an agent until it ends for good. Throws what a start throws. */
export async function runRounds(options: AgentRoundsOptions): Promise<AgentEnd> {
  const { setup } = options;
  const { past } = setup;
  let budgets: Budgets = {
    maxSteps: setup.input.maxSteps + past.added.steps,
    maxTokens: setup.input.maxTokens + past.added.tokens,
    maxCostMicros: setup.input.maxCostMicros + past.added.costMicros,
  };
  let files: Files = setup.hasFiles && past.files ? past.files : null;
  let end: RoundEnd = { exit: notStarted, report: undefined };
  let question = past.question;
  for (;;) {
    if (question === undefined) {
      end = await options.runOnce(inputOf(setup, budgets, files));
      const asks = options.work.onBudgetEnd === BudgetEnd.ASK;
      const { exit, report } = end;
      const isBudget = report !== undefined && budgetNames.includes(report.stopped);
      if (!asks || !isBudget || exit.stopped) return { ...end, unanswered: "" };
      // Everything is where the agent left it: no call is done again.
      files = "all";
      question = await ask(options, report);
    }
    const answer = await waited(options, question);
    if (answer === "stopped")
      return { ...end, exit: { ...end.exit, stopped: true }, unanswered: "" };
    if (answer === "late") {
      return { ...end, unanswered: `${question.message}; nobody answered within the run timeout` };
    }
    await noteAnswer(options, answer);
    if (answer.stop) return { ...end, unanswered: `${question.message}; the answer was to stop` };
    past.transcript.word(answer.message);
    setup.deadline.extend(moreMs(answer));
    budgets = {
      maxSteps: budgets.maxSteps + answer.moreSteps,
      maxTokens: budgets.maxTokens + answer.moreTokens,
      // No bound of its own stays none.
      maxCostMicros:
        budgets.maxCostMicros === 0 ? 0 : budgets.maxCostMicros + Number(answer.moreCostMicros),
    };
    question = undefined;
  }
}

interface Budgets {
  readonly maxSteps: number;
  readonly maxTokens: number;
  readonly maxCostMicros: number;
}

type Files = "all" | { readonly step: number; readonly call: string } | null;

function inputOf({ input, past, deadline }: AgentSetup, budgets: Budgets, files: Files) {
  const { entries } = past.transcript;
  const at = files === null || files === "all" ? files : { step: files.step, call: files.call };
  return Buffer.from(
    JSON.stringify({
      ...input,
      ...budgets,
      maxSeconds: agentSeconds(deadline.leftMs),
      resume: entries.length === 0 ? null : { entries, files: at },
    }),
  );
}

async function ask(
  { shipper }: AgentRoundsOptions,
  { stopped, message, used, limit, steps }: AgentReportRecord,
): Promise<OpenQuestion> {
  const seq = await shipper.note({
    level: "warn",
    topic: "agent.question",
    message: `${message}: shall the agent go on? (\`devmesh jobs answer\`)`,
    payload: { budget: stopped, used, limit, step: steps },
  });
  // Who answers must be able to see it.
  await shipper.flush();
  return { seq, message };
}

/** The answer; while it is waited for, silence is nobody's fault. */
async function waited(
  { setup, silence, stop }: AgentRoundsOptions,
  { seq }: OpenQuestion,
): Promise<AgentAnswer | "stopped" | "late"> {
  try {
    return await silence.hear(setup.answers.wait(seq, stop));
  } catch (error) {
    if (!stop.aborted) throw error;
    return setup.deadline.isReached ? "late" : "stopped";
  }
}

async function noteAnswer({ shipper }: AgentRoundsOptions, answer: AgentAnswer): Promise<void> {
  const { questionSeq, stop, moreSteps, moreTokens, moreCostMicros, message } = answer;
  await shipper.note({
    level: "info",
    topic: "agent.answer",
    message: stop ? "the agent shall stop" : "the agent goes on",
    payload: {
      questionSeq,
      stop,
      moreSteps,
      moreTokens,
      moreCostMicros: Number(moreCostMicros),
      moreTimeMs: moreMs(answer),
      message,
    },
  });
}

function moreMs({ moreTime }: AgentAnswer): number {
  return moreTime === undefined ? 0 : durationMs(moreTime);
}
