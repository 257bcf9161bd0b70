/** Owns how long to wait before trying again: exponential, half of it jitter, bounded. */

/** Bounds of the wait, in milliseconds. */
export interface Backoff {
  readonly firstMs: number;
  readonly mostMs: number;
}

/** The wait before try `attempt`, from 1. `random` is from 0 up to 1. */
export function backoffMs(backoff: Backoff, attempt: number, random: number): number {
  const full = Math.min(backoff.mostMs, backoff.firstMs * 2 ** Math.min(attempt - 1, 30));
  return Math.round(full / 2 + (full / 2) * random);
}
