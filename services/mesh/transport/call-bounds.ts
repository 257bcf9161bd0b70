/** What ends a client's call early: its caller's signal, or its time limit. */
import { ConnectError } from "@connectrpc/connect";
import { DevmeshError } from "../errors/index.ts";

/** Timers hold 31 bits of milliseconds; what is longer has no end. */
const maxTimeoutMs = 2 ** 31 - 1;

/** The bounds of one call. */
export interface CallBounds {
  /** Aborts with the error that the call ends with. */
  readonly signal: AbortSignal;
  /** When the time is over, in milliseconds since the epoch. Absent: never. */
  readonly deadlineMs: number | undefined;
  /** The promise's result, or the signal's reason if that comes first. */
  race<T>(result: Promise<T>): Promise<T>;
  /** Has the wire told when the call is aborted: what a signal's listener would be, for less. */
  onAbort(stop: () => void): void;
  /** The call has ended: nothing aborts any more. */
  end(): void;
}

/** Makes the bounds of a call that starts now. */
export function boundCall(
  caller: AbortSignal | undefined,
  timeoutMs: number | undefined,
): CallBounds {
  const controller = new AbortController();
  const { signal } = controller;
  let interrupt: ((reason: unknown) => void) | undefined;
  let stop: (() => void) | undefined;
  const end = (reason: unknown) => {
    controller.abort(reason);
    interrupt?.(reason);
    stop?.();
  };
  const onAbort = () => end(errorOfAbort(caller?.reason));
  const timer =
    timeoutMs === undefined || timeoutMs > maxTimeoutMs
      ? undefined
      : setTimeout(() => end(timeIsOver(timeoutMs)), Math.max(0, timeoutMs));
  if (caller?.aborted) onAbort();
  else caller?.addEventListener("abort", onAbort, { once: true });
  return {
    signal,
    deadlineMs: timeoutMs === undefined ? undefined : Date.now() + timeoutMs,
    race: (result) =>
      new Promise((resolve, reject) => {
        interrupt = reject;
        if (signal.aborted) reject(signal.reason);
        result.then(resolve, (error: unknown) => reject(signal.aborted ? signal.reason : error));
      }),
    onAbort(listener) {
      stop = listener;
      if (signal.aborted) listener();
    },
    end() {
      stop = undefined;
      clearTimeout(timer);
      caller?.removeEventListener("abort", onAbort);
    },
  };
}

function timeIsOver(timeoutMs: number): DevmeshError {
  return new DevmeshError("DEADLINE_EXCEEDED", `no answer within ${Math.round(timeoutMs)} ms`);
}

/** A reason that names an error of ours stays; anything else is a cancel. */
function errorOfAbort(reason: unknown): DevmeshError | ConnectError {
  if (reason instanceof DevmeshError || reason instanceof ConnectError) return reason;
  if (reason instanceof Error && reason.name === "TimeoutError") {
    return new DevmeshError("DEADLINE_EXCEEDED", "the caller's time limit was reached", {
      cause: reason,
    });
  }
  return new DevmeshError("CANCELLED", "the call was cancelled", { cause: reason });
}
