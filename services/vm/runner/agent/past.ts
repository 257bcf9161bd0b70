/** What a job's log says of its agent's work so far, whichever runner had it. */
import type { JobEvent } from "@devmesh/gen/devmesh/api/v1/job_event_pb";
import type { Lease } from "@devmesh/gen/devmesh/api/v1/runner_service_pb";
import type { Clock } from "@devmesh/mesh/runtime";
import type { Backend } from "../backend.ts";
import { untilAnswered } from "../until-answered.ts";
import { AgentTranscript, type Facts } from "./transcript.ts";

/** A question that nobody has answered yet. */
export interface OpenQuestion {
  /** The number of the event that asks. */
  readonly seq: number;
  readonly message: string;
}

/** The last kept files. */
export interface KeptFiles {
  readonly step: number;
  readonly call: string;
  /** The blob with the changed files, a tar. Empty: none changed. */
  readonly sha256: string;
  /** The blob with the names of the deleted ones, each ended by a NUL. Empty: none. */
  readonly deletedSha256: string;
}

/** How much was added to an agent's budgets. */
export interface AddedBudgets {
  readonly steps: number;
  readonly tokens: number;
  readonly costMicros: number;
}

/** The work so far. */
export interface AgentPast {
  readonly transcript: AgentTranscript;
  /** How the tests were before the work. Undefined: they have not run. */
  readonly testsBefore: "passed" | "failed" | undefined;
  readonly question: OpenQuestion | undefined;
  readonly files: KeptFiles | undefined;
  readonly added: AddedBudgets;
}

/** No work yet. */
export function noPast(): AgentPast {
  const added = { steps: 0, tokens: 0, costMicros: 0 };
  const none = { testsBefore: undefined, question: undefined, files: undefined };
  return { transcript: new AgentTranscript(), ...none, added };
}

/** Reads the log of a leased job. Throws FENCED, and the signal's reason. */
export async function readPast(
  lease: Lease,
  { runners }: Backend,
  clock: Clock,
  signal: AbortSignal,
): Promise<AgentPast> {
  // Accepted and started: nothing else can have happened.
  if (lease.nextSeq <= 3) return noPast();
  const reader = new PastReader();
  const ref = { jobId: lease.job?.id ?? "", epoch: lease.epoch };
  for (let from = 1; from > 0; ) {
    const ask = () => runners.listLeaseNotes({ lease: ref, from }, { timeoutMs: 30_000, signal });
    const { events, nextFrom } = await untilAnswered(ask, { clock, signal });
    for (const event of events) reader.take(event);
    from = nextFrom;
  }
  return reader.past();
}

/** Takes notes in their order. */
class PastReader {
  readonly #transcript = new AgentTranscript();
  #testsBefore: AgentPast["testsBefore"];
  #question: OpenQuestion | undefined;
  #files: KeptFiles | undefined;
  #added = { steps: 0, tokens: 0, costMicros: 0 };

  take({ seq, kind }: JobEvent): void {
    if (kind.case !== "note") return;
    const { topic, message } = kind.value;
    const facts: Facts = kind.value.payload ?? {};
    switch (topic) {
      case "agent.tests":
        if (facts.when === "before") {
          this.#testsBefore = facts.verdict === "passed" ? "passed" : "failed";
        }
        return;
      case "agent.question":
        this.#question = { seq, message };
        return;
      case "agent.answer":
        this.#question = undefined;
        this.#transcript.word(textIn(facts.message));
        this.#added = {
          steps: this.#added.steps + numberIn(facts.moreSteps),
          tokens: this.#added.tokens + numberIn(facts.moreTokens),
          costMicros: this.#added.costMicros + numberIn(facts.moreCostMicros),
        };
        return;
      case "agent.checkpoint":
        this.#files = {
          step: numberIn(facts.step),
          call: textIn(facts.call),
          sha256: textIn(facts.sha256),
          deletedSha256: textIn(facts.deletedSha256),
        };
        return;
      case "agent.end":
        // An attempt that failed by itself is no work to go on with.
        if (facts.done !== true) this.#forget();
        return;
      default:
        this.#transcript.take(topic, facts);
    }
  }

  past(): AgentPast {
    return {
      transcript: this.#transcript,
      testsBefore: this.#testsBefore,
      question: this.#question,
      files: this.#files,
      added: this.#added,
    };
  }

  #forget(): void {
    this.#transcript.clear();
    this.#question = undefined;
    this.#files = undefined;
    this.#added = { steps: 0, tokens: 0, costMicros: 0 };
  }
}

function textIn(value: unknown): string {
  return typeof value === "string" ? value : "";
}

function numberIn(value: unknown): number {
  return typeof value === "number" ? value : 0;
}
