/**
 * Counts tokens: by the model's own tokenizer where its provider has one, else
 * by the one upper estimate. No text leaves for a cloud to be counted.
 */
import { estimateTokens } from "../providers/token-estimate.ts";
import { narrowed, noOverride, type Policy } from "../routing/policy.ts";
import type { Registry } from "../routing/registry.ts";

/** What counts. */
export interface TokenCounts {
  /** One for each text. */
  readonly counts: readonly number[];
  /** `provider/model`, or `estimate`. */
  readonly tokenizer: string;
  /** True if the model's own tokenizer counted. */
  readonly exact: boolean;
}

/** Counts tokens for a model's name as requested. */
export class TokenCounter {
  readonly #registry: Registry;
  readonly #policy: Policy;

  constructor({ registry, policy }: { readonly registry: Registry; readonly policy: Policy }) {
    this.#registry = registry;
    this.#policy = policy;
  }

  /** Throws MODEL_NOT_FOUND, POLICY_REFUSED, or what a local provider throws. */
  async count(model: string, texts: readonly string[]): Promise<TokenCounts> {
    const policy = narrowed(this.#policy, noOverride);
    const [candidate] = await this.#registry.candidates(model, "chat", policy);
    const counts = await candidate?.provider.countTokens(candidate.model, texts);
    if (candidate === undefined || counts === undefined) {
      return { counts: texts.map(estimateTokens), tokenizer: "estimate", exact: false };
    }
    const tokenizer = `${candidate.provider.name}/${candidate.model}`;
    return { counts, tokenizer, exact: true };
  }
}
