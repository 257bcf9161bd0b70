/** Owns the delay between tries: exponential, fully jittered, abortable. */

/** How often and how patiently a call is tried again. */
export interface RetryPolicy {
  /** Tries after the first one. Default: 2. 0 switches retries off. */
  readonly maxRetries: number;
  /** Upper bound of the first delay, in milliseconds; doubles with each try. Default: 100. */
  readonly baseDelayMs: number;
  /** Upper bound of any delay, in milliseconds. Default: 5,000. */
  readonly maxDelayMs: number;
  /**
   * The longest wait that a server may ask for, in milliseconds; beyond it the
   * error is thrown at once. Default: 30,000.
   */
  readonly maxRetryAfterMs: number;
  /** A number from 0 up to 1; for tests. Default: `Math.random`. */
  readonly random: () => number;
}

/** The policy where nothing else is said. */
export const defaultRetryPolicy: RetryPolicy = {
  maxRetries: 2,
  baseDelayMs: 100,
  maxDelayMs: 5_000,
  maxRetryAfterMs: 30_000,
  random: Math.random,
};

/** The delay before try `attempt` (from 1), in milliseconds; never below the server's wish. */
export function delayMs(policy: RetryPolicy, attempt: number, retryAfterMs?: number): number {
  const bound = Math.min(policy.maxDelayMs, policy.baseDelayMs * 2 ** Math.min(attempt - 1, 30));
  return (retryAfterMs ?? 0) + policy.random() * bound;
}

/** Waits; rejects with the signal's reason as soon as it is aborted. */
export function wait(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(signal.reason);
      return;
    }
    const abort = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", abort);
      resolve();
    }, ms);
    signal?.addEventListener("abort", abort, { once: true });
  });
}
