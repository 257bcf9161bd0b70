/**
 * Owns reading a job's raw log: whole or a range, resumed over broken
 * connections by `Range` where the log cannot change any more.
 */
import { delayMs, type RetryPolicy, wait } from "./backoff.ts";
import { Code, DevmeshApiError, fromConnect } from "./errors.ts";
import type { HttpAnswer, HttpGet } from "./http-get.ts";
import type { CallOptions } from "./options.ts";
import { problemOf } from "./problem.ts";

/** Which part of a job's log to read. */
export interface LogOptions extends Omit<CallOptions, "timeoutMs"> {
  /** The attempt, from 1. Default: the last. */
  readonly attempt?: number;
  /** One of the two outputs. Default: both, as they came. */
  readonly stream?: "stdout" | "stderr";
  /** Bytes from `start` (default 0) up to and without `end` (default: the end of the log). */
  readonly range?: { readonly start?: number; readonly end?: number };
}

/** What reading needs of its surroundings. */
export interface LogDeps {
  readonly get: HttpGet;
  readonly retry: RetryPolicy;
}

/** The log's bytes as they come. Throws NOT_FOUND; nothing for a range behind its end. */
export async function* readLog(
  { get, retry }: LogDeps,
  id: string,
  options: LogOptions = {},
): AsyncGenerator<Uint8Array, void, undefined> {
  const { start = 0, end } = options.range ?? {};
  if (end !== undefined && end <= start) return;
  const path = pathOf(id, options);
  const left = new AbortController();
  const signal =
    options.signal === undefined ? left.signal : AbortSignal.any([options.signal, left.signal]);
  let offset = start;
  let etag = "";
  let failures = 0;
  try {
    for (;;) {
      let failure: DevmeshApiError;
      try {
        const headers = new Headers(options.headers);
        if (offset > 0 || end !== undefined) {
          headers.set("range", `bytes=${offset}-${end === undefined ? "" : end - 1}`);
        }
        if (etag !== "") headers.set("if-range", etag);
        const answer = await get(path, { headers, signal });
        if (answer.status === 416) return;
        if (answer.status !== 200 && answer.status !== 206) throw await problemOf(answer);
        checkPart(answer, offset, etag);
        etag = answer.header("etag");
        for await (const piece of answer.body) {
          offset += piece.length;
          failures = 0;
          yield piece;
        }
        return;
      } catch (error) {
        failure = fromConnect(error);
        const isSame = offset === start || etag !== "";
        if (signal.aborted || !failure.retryable || !isSame) throw failure;
      }
      failures += 1;
      if (failures > retry.maxRetries) throw failure;
      await wait(delayMs(retry, failures, failure.retryAfterMs), signal);
    }
  } finally {
    left.abort();
  }
}

function pathOf(id: string, { attempt, stream }: LogOptions): string {
  const query = new URLSearchParams();
  if (attempt !== undefined) query.set("attempt", String(attempt));
  if (stream !== undefined) query.set("stream", stream);
  return `/v1/jobs/${encodeURIComponent(id)}/log${query.size === 0 ? "" : `?${query}`}`;
}

/** Bytes from the middle must not be taken for the start, nor another log's for this one's. */
function checkPart(answer: HttpAnswer, offset: number, etag: string): void {
  const isWhole = answer.status === 200;
  if (isWhole ? offset === 0 : etag === "" || answer.header("etag") === etag) return;
  throw new DevmeshApiError("the log has changed while it was read: read it again", {
    reason: "WRONG_STATE",
    code: Code.Aborted,
  });
}
