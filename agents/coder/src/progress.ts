/** Owns the counts of one run, and which budget they use up first. */
import type { AgentInput } from "./input.ts";
import type { ModelTurn } from "./model/chat-model.ts";
import type { Budget, Report, ReportCommand, Stopped } from "./records.ts";
import type { RunCommand } from "./tools/tool.ts";

/** A budget that is used up. */
export interface Reached {
  readonly stopped: Budget;
  readonly message: string;
  readonly used: number;
  readonly limit: number;
}

/** What is counted against. */
type Limits = Pick<AgentInput, "maxSteps" | "maxTokens" | "maxCostMicros">;

const maxCommands = 500;

/** Counts turns, tokens and money. */
export class Progress {
  readonly #limits: Limits;
  readonly #commands: ReportCommand[] = [];
  #steps = 0;
  #inputTokens = 0;
  #outputTokens = 0;
  #costMicros = 0;
  #unpricedSteps = 0;
  #model = "";
  #words = "";

  constructor(limits: Limits) {
    this.#limits = limits;
  }

  /** How many turns the model took. */
  get steps(): number {
    return this.#steps;
  }

  /** How many tokens are left. */
  get tokensLeft(): number {
    return Math.max(0, this.#limits.maxTokens - this.#tokens);
  }

  get #tokens(): number {
    return this.#inputTokens + this.#outputTokens;
  }

  /** Counts an answer. One without a known price costs nothing, and is told. */
  add(turn: ModelTurn): void {
    this.#steps += 1;
    this.#inputTokens += turn.inputTokens;
    this.#outputTokens += turn.outputTokens;
    this.#costMicros += turn.costMicros ?? 0;
    this.#unpricedSteps += turn.costMicros === undefined ? 1 : 0;
    this.#model = turn.model || this.#model;
    this.#words = turn.text.trim() || this.#words;
  }

  /** Notes a command that was run. */
  ran({ line, exitCode, ms }: RunCommand): void {
    if (this.#commands.length === maxCommands) return;
    this.#commands.push({ command: line, exitCode, ms });
  }

  /** The budget that forbids a further turn; undefined if none does. */
  reached(): Reached | undefined {
    const { maxSteps, maxTokens, maxCostMicros } = this.#limits;
    if (this.tokensLeft === 0) {
      const message = `the limit of ${maxTokens} tokens is reached`;
      return { stopped: "tokens", message, used: this.#tokens, limit: maxTokens };
    }
    if (maxCostMicros > 0 && this.#costMicros >= maxCostMicros) {
      const message = `the limit of ${dollars(maxCostMicros)} is reached`;
      return { stopped: "cost", message, used: this.#costMicros, limit: maxCostMicros };
    }
    if (this.#steps >= maxSteps) {
      const message = `the limit of ${maxSteps} model turns is reached`;
      return { stopped: "steps", message, used: this.#steps, limit: maxSteps };
    }
    return undefined;
  }

  /** The report of a run that finished. */
  finished(summary: string): Report {
    return { ...this.#counts(), summary, finished: true, stopped: "", message: "" };
  }

  /** The report of a run whose budget ended; its summary is what the model said last. */
  spent({ stopped, message, used, limit }: Reached): Report {
    return { ...this.stopped(stopped, message), used, limit };
  }

  /** The report of a run that did not finish for another reason. */
  stopped(stopped: Stopped, message: string, reason = ""): Report {
    return { ...this.#counts(), summary: this.#words, finished: false, stopped, message, reason };
  }

  #counts() {
    return {
      steps: this.#steps,
      inputTokens: this.#inputTokens,
      outputTokens: this.#outputTokens,
      costMicros: this.#costMicros,
      unpricedSteps: this.#unpricedSteps,
      model: this.#model,
      reason: "",
      used: 0,
      limit: 0,
      commands: [...this.#commands],
    };
  }
}

function dollars(micros: number): string {
  return `${micros / 1_000_000} US dollars`;
}
