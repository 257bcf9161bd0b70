/** An upper bound that needs no model. */
import type { TokenCounter, TokenCounts } from "./token-counter.ts";

/**
 * Counts UTF-8 bytes and one. Every token of a byte-level or byte-fallback
 * tokenizer stands for at least one byte, but for a mark that some put before
 * the text. About four times too much for English.
 */
export class BytesTokenCounter implements TokenCounter {
  async count(texts: readonly string[], signal: AbortSignal): Promise<TokenCounts> {
    signal.throwIfAborted();
    const counts = texts.map((text) => (text === "" ? 0 : Buffer.byteLength(text) + 1));
    return { counts, tokenizer: "bytes (upper bound)" };
  }
}
