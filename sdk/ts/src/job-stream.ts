/**
 * Owns watching a job: it resumes by sequence number over broken connections,
 * proves that nothing is missing or doubled, and checks the log's SHA-256. What
 * retention has removed it says by a `trim` event, and checks the rest.
 */
import { delayMs, type RetryPolicy, wait } from "./backoff.ts";
import { Code, DevmeshApiError, fromConnect } from "./errors.ts";
import type { JobEvent } from "./gen/devmesh/api/v1/job_event_pb.js";
import type { JobResult } from "./gen/devmesh/api/v1/job_result_pb.js";
import type { WatchJobResponse } from "./gen/devmesh/api/v1/job_service_pb.js";
import { JobStatus } from "./gen/devmesh/api/v1/job_status_pb.js";
import type { CreateSha256, LoadSha256, Sha256 } from "./sha256.ts";

/** What a watcher may want to know about the connection. */
export type WatchState =
  | { readonly state: "live" }
  | { readonly state: "reconnecting"; readonly delayMs: number; readonly error: DevmeshApiError };

/** How to watch a job. */
export interface WatchOptions {
  /** The first number wanted. Default: 1, the start. */
  readonly from?: number;
  /** Ends the watch; the loop then throws CANCELLED. */
  readonly signal?: AbortSignal;
  /** Headers to add. */
  readonly headers?: Record<string, string>;
  /** Told when the connection breaks and when it is back. */
  readonly onState?: (state: WatchState) => void;
  /** Tries in a row without an event before the watch gives up. Default: 20. */
  readonly maxReconnects?: number;
  /** Silence, in milliseconds, after which the connection counts as dead. Default: 60,000. */
  readonly idleTimeoutMs?: number;
  /** False: do not check the log's SHA-256. Default: true. */
  readonly verify?: boolean;
}

/** The stream broke its own promise: a number is missing or doubled, or the log is not whole. */
export class JobStreamError extends Error {
  override readonly name = "JobStreamError";
  /** `sequence`: a gap or a double. `digest`: the log differs from the result's SHA-256. */
  readonly kind: "sequence" | "digest";

  /** `message` names what was expected and what came. */
  constructor(kind: "sequence" | "digest", message: string) {
    super(message);
    this.kind = kind;
  }
}

/** What watching needs of its surroundings. */
export interface WatchDeps {
  /** Opens one connection that starts at `from`. */
  readonly open: (from: number, signal: AbortSignal) => AsyncIterable<WatchJobResponse>;
  readonly retry: RetryPolicy;
  readonly loadSha256: LoadSha256;
}

/** A job's events from `from` to its result, each exactly once, over any number of connections. */
export async function* watchEvents(
  deps: WatchDeps,
  options: WatchOptions = {},
): AsyncGenerator<JobEvent, void, undefined> {
  const { signal, onState, maxReconnects = 20 } = options;
  let next = Math.max(1, options.from ?? 1);
  let failures = 0;
  let everLive = false;
  let hasSeen = false;
  const log = options.verify === false ? undefined : new LogDigest(await deps.loadSha256(), next);
  for (;;) {
    signal?.throwIfAborted();
    let failure: DevmeshApiError | undefined;
    const connection = new Connection(deps, next, options);
    try {
      for await (const { step } of connection.messages()) {
        if (failures > 0 || !everLive) onState?.({ state: "live" });
        failures = 0;
        everLive = true;
        if (step.case !== "event") continue;
        const event = step.value;
        checkSequence(event, next);
        next = event.seq + 1;
        hasSeen = true;
        log?.take(event);
        yield event;
        if (event.kind.case === "result") return;
      }
    } catch (error) {
      if (error instanceof JobStreamError) throw error;
      failure = fromConnect(error);
      if (signal?.aborted || isFinal(failure)) throw failure;
    } finally {
      connection.close();
    }
    // Only who asks for what lies behind a job's end hears nothing and is let go in peace.
    if (failure === undefined && !hasSeen && next > 1) {
      throw new DevmeshApiError(`from: the job ended before event ${next}`, {
        reason: "INVALID_FIELD",
        code: Code.InvalidArgument,
        metadata: { field: "from" },
        fromServer: true,
      });
    }
    failures++;
    // A server that was never reached is not worth the patience of one that was lost.
    const patience = everLive ? maxReconnects : deps.retry.maxRetries;
    failure ??= fromConnect(new TypeError("the stream ended before the job did"));
    if (failures > patience) throw failure;
    const pause = delayMs(deps.retry, failures, failure.retryAfterMs);
    onState?.({ state: "reconnecting", delayMs: pause, error: failure });
    try {
      await wait(pause, signal);
    } catch (error) {
      throw fromConnect(error);
    }
  }
}

/** One connection, with a watchdog: a dead peer sends neither events nor keepalives. */
class Connection {
  readonly #left = new AbortController();
  readonly #idleTimeoutMs: number;
  readonly #stream: AsyncIterable<WatchJobResponse>;
  #silence: ReturnType<typeof setTimeout> | undefined;

  constructor(deps: WatchDeps, from: number, options: WatchOptions) {
    const { signal, idleTimeoutMs = 60_000 } = options;
    this.#idleTimeoutMs = idleTimeoutMs;
    const signals = signal === undefined ? [this.#left.signal] : [signal, this.#left.signal];
    this.#stream = deps.open(from, AbortSignal.any(signals));
  }

  /** The messages; throws UNAVAILABLE when there was silence for too long. */
  async *messages(): AsyncGenerator<WatchJobResponse, void, undefined> {
    let silent = false;
    const listen = (ms: number) => {
      clearTimeout(this.#silence);
      this.#silence = setTimeout(() => {
        silent = true;
        this.#left.abort();
      }, ms);
    };
    listen(this.#idleTimeoutMs);
    try {
      for await (const message of this.#stream) {
        // The reader's own slowness is not the peer's silence.
        clearTimeout(this.#silence);
        yield message;
        listen(this.#idleTimeoutMs);
      }
    } catch (error) {
      throw silent
        ? fromConnect(new TypeError(`nothing was heard for ${this.#idleTimeoutMs} ms`))
        : error;
    }
  }

  close(): void {
    clearTimeout(this.#silence);
    this.#left.abort();
  }
}

/** A trim stands for all numbers up to its own: it may come for any of them. */
function checkSequence({ seq, kind }: JobEvent, expected: number): void {
  if (seq === expected) return;
  if (kind.case === "trim" && seq > expected && kind.value.firstSeq <= expected) return;
  const what = seq > expected ? "events are missing" : "an event came twice";
  throw new JobStreamError(
    "sequence",
    `${what}: expected number ${expected}, the server sent ${seq}`,
  );
}

/** An answer that a new try would not change. Anything else is a broken connection. */
function isFinal(error: DevmeshApiError): boolean {
  if (error.fromServer) return !error.retryable;
  switch (error.code) {
    case Code.InvalidArgument:
    case Code.NotFound:
    case Code.PermissionDenied:
    case Code.Unauthenticated:
    case Code.FailedPrecondition:
    case Code.Unimplemented:
      return true;
    default:
      return false;
  }
}

/**
 * The digest of the last attempt's log: the bytes of all `log` events after
 * the last `status` event whose status is RUNNING.
 */
class LogDigest {
  readonly #createSha256: CreateSha256;
  #digest: Sha256;
  #bytes = 0n;
  /** False until the whole of an attempt can be seen. */
  #whole: boolean;

  constructor(createSha256: CreateSha256, from: number) {
    this.#createSha256 = createSha256;
    this.#digest = createSha256();
    this.#whole = from <= 1;
  }

  take(event: JobEvent): void {
    const { kind } = event;
    switch (kind.case) {
      case "log":
        this.#digest.update(kind.value.data);
        this.#bytes += BigInt(kind.value.data.length);
        return;
      case "status":
        if (kind.value.status !== JobStatus.RUNNING) return;
        this.#digest = this.#createSha256();
        this.#bytes = 0n;
        this.#whole = true;
        return;
      case "result":
        if (this.#whole) this.#check(kind.value);
        return;
      case "trim":
        this.#whole = false;
        return;
      case "note":
      case undefined:
        return;
      default:
        kind satisfies never;
    }
  }

  #check(result: JobResult): void {
    if (result.logSha256 === "") return;
    const found = this.#digest.hex();
    if (found === result.logSha256 && this.#bytes === result.logBytes) return;
    throw new JobStreamError(
      "digest",
      `the log is not whole: got ${this.#bytes} bytes with SHA-256 ${found}, ` +
        `the job wrote ${result.logBytes} bytes with ${result.logSha256}`,
    );
  }
}
