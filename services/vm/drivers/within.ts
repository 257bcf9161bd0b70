/** Bounds a call whose other side may hang. */
import { DevmeshError } from "@devmesh/mesh/errors";

/**
 * The call's answer. Throws SANDBOX_FAILED after `timeoutMs`, and CANCELLED when
 * the signal is aborted; an answer that comes later is given to `discard`.
 */
export async function within<T>(
  timeoutMs: number,
  call: Promise<T>,
  signal?: AbortSignal,
  discard?: (late: T) => unknown,
): Promise<T> {
  const given = Promise.withResolvers<never>();
  const cancel = () => given.reject(new DevmeshError("CANCELLED", "the call was cancelled"));
  const timer = setTimeout(() => {
    given.reject(new DevmeshError("SANDBOX_FAILED", `no answer within ${timeoutMs} ms`));
  }, timeoutMs);
  signal?.addEventListener("abort", cancel, { once: true });
  if (signal?.aborted) cancel();
  let settled = false;
  call
    .then(
      async (late) => {
        if (settled) await discard?.(late);
      },
      () => {
        // Thrown to the caller below, or too late for anybody to care.
      },
    )
    .catch(() => {
      // What came too late cannot be tidied up either: `reap` finds it.
    });
  try {
    return await Promise.race([call, given.promise]);
  } finally {
    settled = true;
    clearTimeout(timer);
    signal?.removeEventListener("abort", cancel);
  }
}
