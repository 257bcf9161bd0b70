/**
 * Reads the HTTP errors of model servers into the one taxonomy. The rules are
 * the same for all of them: what differs is where status, code and text stand.
 */
import { type DevmeshError, invalidField } from "@devmesh/mesh/errors";
import {
  contentFiltered,
  contextLength,
  modelNotFound,
  protocolError,
  rateLimited,
  unavailable,
} from "./provider-errors.ts";

/** An error as a model server sent it. */
export interface HttpFailure {
  readonly provider: string;
  /** The model that was asked. Empty: none. */
  readonly model: string;
  /** The HTTP status; 0 for an error inside a stream. */
  readonly status: number;
  /** The server's own code or type, for example `context_length_exceeded`. */
  readonly code: string;
  readonly message: string;
  readonly headers?: Headers | undefined;
  readonly cause?: unknown;
}

const contextTexts =
  /context[_ ](length|size|window)|prompt is too long|input length exceeds|too many tokens|maximum context|exceed_context_size/i;
const filterCodes = /content_filter|content_policy|safety|moderation/i;
const limitTexts = [
  /maximum context length is (\d+)/i,
  /> (\d+) maximum/i,
  /context size \((\d+) tokens\)/i,
  /n_ctx\D{0,4}(\d+)/i,
];

/** The error of the taxonomy that a server's error stands for. */
export function fromHttp(failure: HttpFailure): DevmeshError {
  const { provider, model, status, code, message, cause } = failure;
  if (contextTexts.test(code) || (isClientError(status) && contextTexts.test(message))) {
    return contextLength(provider, limitIn(message), cause);
  }
  if (filterCodes.test(code)) return contentFiltered(provider, cause);
  if (code === "model_not_found" || (status === 404 && /model/i.test(message))) {
    return modelNotFound(provider, model, cause);
  }
  switch (status) {
    case 401:
    case 403:
      return unavailable(provider, "it refused the configured key", cause);
    case 402:
      return unavailable(provider, "its account has no credit left", cause);
    case 404:
    case 405:
      return protocolError(provider, "its base URL has no such endpoint", cause);
    case 408:
    case 409:
    case 425:
      return unavailable(provider, message, cause);
    case 413:
      return contextLength(provider, undefined, cause);
    case 429:
      if (code === "insufficient_quota") {
        return unavailable(provider, "its account has no credit left", cause);
      }
      return rateLimited(provider, message, retryAfterMs(failure.headers), cause);
    default:
      return isClientError(status)
        ? invalidField("request", `${provider} refused it: ${message.slice(0, 300)}`)
        : unavailable(provider, message, cause);
  }
}

function isClientError(status: number): boolean {
  return status >= 400 && status < 500;
}

function limitIn(message: string): number | undefined {
  for (const pattern of limitTexts) {
    const found = pattern.exec(message)?.[1];
    if (found !== undefined) return Number(found);
  }
  return undefined;
}

/** `retry-after-ms`, or `retry-after` in seconds; undefined where neither is a number. */
function retryAfterMs(headers: Headers | undefined): number | undefined {
  const ms = Number.parseFloat(headers?.get("retry-after-ms") ?? "");
  if (Number.isFinite(ms)) return ms;
  const seconds = Number.parseFloat(headers?.get("retry-after") ?? "");
  return Number.isFinite(seconds) ? seconds * 1000 : undefined;
}
