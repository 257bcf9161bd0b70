/** Owns trying model calls again: jittered, growing waits, within a cap. */
import type { Clock } from "../clock.ts";
import type { ChatModel, ModelQuestion, ModelTurn } from "./chat-model.ts";
import { brokenCall, type ModelError } from "./model-error.ts";

/** How patient it is. */
export interface PatientModelOptions {
  readonly model: ChatModel;
  /** How often one call is tried again. */
  readonly maxRetries: number;
  readonly clock: Clock;
  /** 0 to 1; spreads the waits of many agents. */
  readonly random: () => number;
  /** Told before each wait. */
  readonly onRetry: (error: ModelError, waitMs: number) => void;
}

const firstWaitMs = 500;
const maxWaitMs = 30_000;
/** Longer waits that the backend asks for are not worth the sandbox. */
const maxAskedWaitMs = 120_000;

/** A model that tries again what may succeed later. */
export class PatientModel implements ChatModel {
  readonly #options: PatientModelOptions;

  constructor(options: PatientModelOptions) {
    this.#options = options;
  }

  async ask(question: ModelQuestion, signal: AbortSignal): Promise<ModelTurn> {
    const { model, maxRetries, clock, onRetry } = this.#options;
    for (let retry = 0; ; retry++) {
      try {
        return await model.ask(question, signal);
      } catch (cause) {
        signal.throwIfAborted();
        const error = brokenCall(cause);
        const waitMs = this.#waitMs(error, retry);
        if (!error.retryable || retry >= maxRetries || waitMs > maxAskedWaitMs) throw error;
        onRetry(error, waitMs);
        await clock.sleep(waitMs, signal);
      }
    }
  }

  #waitMs({ retryAfterMs = 0 }: ModelError, retry: number): number {
    const grown = Math.min(firstWaitMs * 2 ** retry, maxWaitMs);
    return Math.ceil(Math.max(retryAfterMs, grown * (0.5 + this.#options.random() / 2)));
  }
}
