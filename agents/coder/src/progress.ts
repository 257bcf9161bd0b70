/** Owns the counts of one run, and which limit they reach first. */
import type { AgentInput } from "./input.ts";
import type { ModelTurn } from "./model/chat-model.ts";
import type { Report, Stopped } from "./records.ts";

/** Counts turns and tokens. */
export class Progress {
  readonly #limits: Pick<AgentInput, "maxSteps" | "maxTokens">;
  #steps = 0;
  #inputTokens = 0;
  #outputTokens = 0;
  #model = "";
  #words = "";

  constructor(limits: Pick<AgentInput, "maxSteps" | "maxTokens">) {
    this.#limits = limits;
  }

  /** How many turns the model took. */
  get steps(): number {
    return this.#steps;
  }

  /** How many tokens are left. */
  get tokensLeft(): number {
    return Math.max(0, this.#limits.maxTokens - this.#inputTokens - this.#outputTokens);
  }

  /** Counts an answer. */
  add(turn: ModelTurn): void {
    this.#steps += 1;
    this.#inputTokens += turn.inputTokens;
    this.#outputTokens += turn.outputTokens;
    this.#model = turn.model || this.#model;
    this.#words = turn.text.trim() || this.#words;
  }

  /** The limit that forbids a further turn; undefined if none does. */
  reached(): { readonly stopped: Stopped; readonly message: string } | undefined {
    const { maxSteps, maxTokens } = this.#limits;
    if (this.tokensLeft === 0) {
      return { stopped: "tokens", message: `the limit of ${maxTokens} tokens is reached` };
    }
    if (this.#steps >= maxSteps) {
      return { stopped: "steps", message: `the limit of ${maxSteps} model turns is reached` };
    }
    return undefined;
  }

  /** The report of a run that finished. */
  finished(summary: string): Report {
    return { ...this.#counts(), summary, finished: true, stopped: "", message: "" };
  }

  /** The report of a run that did not; its summary is what the model said last. */
  stopped(stopped: Stopped, message: string): Report {
    return { ...this.#counts(), summary: this.#words, finished: false, stopped, message };
  }

  #counts() {
    return {
      steps: this.#steps,
      inputTokens: this.#inputTokens,
      outputTokens: this.#outputTokens,
      model: this.#model,
    };
  }
}
