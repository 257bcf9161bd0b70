/** The port to whatever counts tokens. */

/** Counts of one tokenizer. */
export interface TokenCounts {
  /** One for each text, in order. Never fewer than the model will see. */
  readonly counts: readonly number[];
  /** The tokenizer that counted. */
  readonly tokenizer: string;
}

/** Counts the tokens of texts; never too few. */
export interface TokenCounter {
  /** Throws when it cannot count, and the signal's reason when it aborts. */
  count(texts: readonly string[], signal: AbortSignal): Promise<TokenCounts>;
}
