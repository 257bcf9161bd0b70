/** Tells before any work whether the backend can be reached and takes the token. */
import { DevmeshError, type Reason, toDevmeshError } from "@devmesh/mesh/errors";
import type { Logger } from "@devmesh/mesh/log";
import type { Clock } from "@devmesh/mesh/runtime";
import type { Backend } from "../runner/backend.ts";

/** The longest wait for the first answer, and between two tries, in milliseconds. */
const limits = { answerMs: 10_000, waitMs: 5_000 };

/** What the check needs. */
export interface CheckOptions {
  readonly url: string;
  readonly backend: Backend;
  readonly clock: Clock;
  readonly logger: Logger;
  /** True: a backend that cannot be reached is waited for. */
  readonly waits: boolean;
  readonly signal: AbortSignal;
}

/** Reasons with which a backend refuses a token for good. */
const refusals: readonly Reason[] = ["UNAUTHENTICATED", "SCOPE_MISSING"];

/** True if the backend takes no calls under this token. */
export function isRefusal(error: unknown): boolean {
  return refusals.includes(toDevmeshError(error).reason);
}

/** What a person is told of a token that is refused. */
export function refusalOf(url: string, error: unknown): DevmeshError {
  const { reason, message } = toDevmeshError(error);
  return new DevmeshError(
    reason,
    `the backend ${url} refuses this runner: ${message}; make a token with \`devmesh tokens create NAME --scope run:jobs\``,
    { cause: error },
  );
}

/**
 * Resolves once the backend has taken the token. Throws UNAUTHENTICATED or
 * SCOPE_MISSING for a token that is no good, UNAVAILABLE if nobody answers, and
 * CONFIG_INVALID if somebody else does.
 */
export async function checkBackend(options: CheckOptions): Promise<void> {
  const { url, waits, clock, logger, signal } = options;
  for (let tries = 1; ; tries++) {
    const failure = await ask(options);
    if (failure === undefined) return;
    if (!waits || failure.reason !== "UNAVAILABLE") throw failure;
    if (tries === 1) logger.warn({ url, detail: failure.message }, "the backend is waited for");
    await clock.sleep(Math.min(limits.waitMs, 100 * 2 ** tries), signal);
  }
}

/** A sign of life of a runner that nobody knows: that it is unknown is all there is to refuse. */
async function ask({ url, backend, signal }: CheckOptions): Promise<DevmeshError | undefined> {
  try {
    await backend.heartbeats.heartbeat(
      { runnerId: "check" },
      { timeoutMs: limits.answerMs, signal },
    );
    return undefined;
  } catch (error) {
    signal.throwIfAborted();
    const { reason } = toDevmeshError(error);
    const message = detailOf(error);
    if (reason === "NOT_FOUND") return undefined;
    if (isRefusal(error)) return toDevmeshError(error);
    const options = { cause: error, metadata: { field: "url" } };
    if (["UNAVAILABLE", "DEADLINE_EXCEEDED", "DRAINING", "RATE_LIMITED"].includes(reason)) {
      const text = `the backend ${url} cannot be reached: ${message}`;
      return new DevmeshError("UNAVAILABLE", text, options);
    }
    return new DevmeshError(
      "CONFIG_INVALID",
      `what answers at ${url} is no devmesh backend (${message}): name its public port`,
      options,
    );
  }
}

/** What the wire said, which is for the operator of this host alone: refused, timed out, a bad certificate. */
function detailOf(error: unknown): string {
  const { cause } = toDevmeshError(error);
  let deepest: unknown = cause;
  while (deepest instanceof Error && deepest.cause instanceof Error) deepest = deepest.cause;
  const text = deepest instanceof Error ? deepest.message : toDevmeshError(error).message;
  return text.replace(/^\d+ /, "").replace(/\. Resolution note: *$/, "");
}
