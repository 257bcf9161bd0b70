/**
 * Keeps the keyword search quick in a large store: ranking costs by the rows
 * that match, and words that very many chunks have tell little about any.
 */
import type { StatementSync } from "node:sqlite";

/** Below this many chunks every word is cheap. */
const smallStoreChunks = 5_000;
/** The rows that all words of a query may match together. */
const rowBudget = 6_000;
const maxRemembered = 10_000;
/** After this many new chunks what is remembered is too old. */
const chunksPerMemory = 2_000;

/** Knows how many chunks have a word, and leaves out the commonest words of a query. */
export class CommonTerms {
  readonly #prepare: (sql: string) => StatementSync;
  readonly #frequencies = new Map<string, number>();
  #rememberedAt = 0;

  constructor(prepare: (sql: string) => StatementSync) {
    this.#prepare = prepare;
  }

  /** The rarest of the phrases, quoted for FTS5, that fit the budget; at least one. */
  rarest(phrases: readonly string[]): readonly string[] {
    const { newest } = this.#prepare("SELECT max(sequence) AS newest FROM chunks").get() as {
      newest: number | null;
    };
    const chunks = newest ?? 0;
    if (chunks <= smallStoreChunks || phrases.length < 2) return phrases;
    if (chunks - this.#rememberedAt > chunksPerMemory || this.#frequencies.size > maxRemembered) {
      this.#frequencies.clear();
      this.#rememberedAt = chunks;
    }
    const byRarity = phrases
      .map((phrase) => ({ phrase, rows: this.#frequency(phrase) }))
      .sort((a, b) => a.rows - b.rows);
    let rows = 0;
    const kept = byRarity.filter((term) => {
      const fits = rows === 0 || rows + term.rows <= rowBudget;
      rows += term.rows;
      return fits;
    });
    return kept.map(({ phrase }) => phrase);
  }

  #frequency(phrase: string): number {
    const remembered = this.#frequencies.get(phrase);
    if (remembered !== undefined) return remembered;
    const { rows } = this.#prepare(`
      SELECT count(*) AS rows FROM (
        SELECT 1 FROM chunk_words WHERE chunk_words MATCH ?1 LIMIT ?2)
    `).get(phrase, rowBudget + 1) as { rows: number };
    this.#frequencies.set(phrase, rows);
    return rows;
  }
}
