/** An abort that follows the caller's and can be pulled by the provider itself. */

/** A controller that aborts with `signal`; `unlink` lets go of it. */
export interface LinkedAbort {
  readonly controller: AbortController;
  unlink(): void;
}

/** Links a new controller to the caller's signal. Always `unlink` in a `finally`. */
export function linkedAbort(signal: AbortSignal | undefined): LinkedAbort {
  const controller = new AbortController();
  if (signal === undefined) return { controller, unlink: () => {} };
  const onAbort = () => controller.abort(signal.reason);
  if (signal.aborted) onAbort();
  else signal.addEventListener("abort", onAbort, { once: true });
  return { controller, unlink: () => signal.removeEventListener("abort", onAbort) };
}
