/** Calls the backend until it answers: one that is away is waited for while the lease may live. */
import { isRetryable, type Reason, toDevmeshError } from "@devmesh/mesh/errors";
import type { Clock } from "@devmesh/mesh/runtime";

/** The longest wait between two tries, in milliseconds. */
const maxWaitMs = 2_000;

/** How often in a row a failure without a known reason is tried again. */
const maxUnclear = 5;

/** What the wait is bounded by. */
export interface UntilAnsweredOptions {
  readonly clock: Clock;
  /** Ends the tries: the lease is lost, or nobody wants the answer any more. */
  readonly signal: AbortSignal;
}

/**
 * The answer of a call that is safe to repeat. Throws what the backend refuses
 * with for good, and the signal's reason when it aborts.
 */
export async function untilAnswered<T>(
  call: () => Promise<T>,
  { clock, signal }: UntilAnsweredOptions,
): Promise<T> {
  let unclear = 0;
  for (let attempt = 0; ; attempt++) {
    signal.throwIfAborted();
    try {
      return await call();
    } catch (error) {
      signal.throwIfAborted();
      const { reason } = toDevmeshError(error);
      if (isUnclear(reason)) unclear += 1;
      const again = isRetryable(reason) || (isUnclear(reason) && unclear <= maxUnclear);
      if (!again) throw error;
    }
    await clock.sleep(Math.min(maxWaitMs, 50 * 2 ** attempt), signal);
  }
}

/** A connection that breaks within a call, or a fault of the backend: a few tries tell. */
function isUnclear(reason: Reason): boolean {
  return reason === "INTERNAL" || reason === "CANCELLED";
}
