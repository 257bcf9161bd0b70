/** The counter that asks the inference service for the model's own tokenizer. */
import { type Client, createClient, type Transport } from "@connectrpc/connect";
import { ModelService } from "@devmesh/gen/devmesh/inference/v1/model_service_pb";
import { DevmeshError, toDevmeshError } from "@devmesh/mesh/errors";
import type { TokenCounter, TokenCounts } from "./token-counter.ts";

/** What it is made from. */
export interface InferenceTokenCounterOptions {
  readonly transport: Transport;
  /** How long one call may take. */
  readonly timeoutMs: number;
}

/** The most texts that one call takes. */
const maxTexts = 256;

/** A client of `devmesh.inference.v1.ModelService`, for the role `chat`. */
export class InferenceTokenCounter implements TokenCounter {
  readonly #client: Client<typeof ModelService>;
  readonly #timeoutMs: number;

  constructor({ transport, timeoutMs }: InferenceTokenCounterOptions) {
    this.#client = createClient(ModelService, transport);
    this.#timeoutMs = timeoutMs;
  }

  async count(texts: readonly string[], signal: AbortSignal): Promise<TokenCounts> {
    const counts: number[] = [];
    let tokenizer = "";
    for (let i = 0; i < texts.length; i += maxTexts) {
      const part = texts.slice(i, i + maxTexts);
      const answer = await this.#ask(part, signal);
      if (answer.counts.length !== part.length) {
        throw new DevmeshError("PROVIDER_PROTOCOL", "not every text was counted");
      }
      counts.push(...answer.counts);
      tokenizer = answer.exact ? answer.tokenizer : `${answer.tokenizer} (upper estimate)`;
    }
    return { counts, tokenizer };
  }

  async #ask(texts: readonly string[], signal: AbortSignal) {
    try {
      return await this.#client.countTokens(
        { texts: [...texts] },
        { signal, timeoutMs: this.#timeoutMs },
      );
    } catch (error: unknown) {
      signal.throwIfAborted();
      throw toDevmeshError(error);
    }
  }
}
