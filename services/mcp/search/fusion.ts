/**
 * Owns how rankings become one. Reciprocal rank fusion: G. V. Cormack,
 * C. L. A. Clarke, S. Büttcher, "Reciprocal Rank Fusion outperforms Condorcet
 * and individual Rank Learning Methods", SIGIR 2009; k = 60 as there.
 */

const k = 60;

/** What a place in one ranking is worth; 0 for a place outside it. */
export function reciprocalRank(rank: number): number {
  return rank === 0 ? 0 : 1 / (k + rank);
}

/**
 * What it is worth to bear the very name that was asked for: more than the
 * first place of every other ranking together, so that an exact name is not
 * outvoted by what only resembles it.
 */
export const exactNameWorth = 2.5 * reciprocalRank(1);

/** The place of each id in a ranking, from 1. */
export function ranksOf(ranking: readonly { readonly id: string }[]): Map<string, number> {
  return new Map(ranking.map(({ id }, index) => [id, index + 1]));
}
