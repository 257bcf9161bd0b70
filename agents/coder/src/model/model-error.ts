/** Owns the one error of model calls and the reading of refusals. */
import { APIError } from "openai/core/error";
import { errorCode, errorText } from "../text.ts";

/** Facts of a failed model call. */
export interface ModelErrorFacts {
  /** The reason's name, or the dialect's code in capitals. Empty where none was said. */
  readonly reason: string;
  /** True if the same call may succeed later. */
  readonly retryable: boolean;
  /** When to try again, in milliseconds, where the backend said so. */
  readonly retryAfterMs?: number | undefined;
  readonly cause?: unknown;
}

/** A model call that gave no answer. */
export class ModelError extends Error {
  override readonly name = "ModelError";
  readonly reason: string;
  readonly retryable: boolean;
  readonly retryAfterMs: number | undefined;

  /** `message` is for people: what was asked and why it failed. */
  constructor(message: string, facts: ModelErrorFacts) {
    super(message, { cause: facts.cause });
    this.reason = facts.reason;
    this.retryable = facts.retryable;
    this.retryAfterMs = facts.retryAfterMs;
  }
}

/** Reads an answer that is none: a problem document, the dialect's `{error}`, or any text. */
export async function refusalOf(response: Response): Promise<ModelError> {
  const { status } = response;
  let text = "";
  try {
    text = await response.text();
  } catch (cause) {
    // The status alone must do.
    text = `(its text broke off: ${errorText(cause)})`;
  }
  const body = parsed(text);
  const row = isRow(body.error) ? body.error : body;
  const words = firstText(row.message, row.detail, row.title, body.error) || text.slice(0, 300);
  const reason = reasonOf(row);
  return new ModelError(`the backend answered ${status}${reason && ` ${reason}`}: ${words}`, {
    reason,
    retryable: typeof row.retryable === "boolean" ? row.retryable : isRetryable(status, reason),
    retryAfterMs: retryAfterOf(response.headers.get("retry-after")),
  });
}

/** Reads whatever broke a call off before or in its answer. */
export function brokenCall(error: unknown): ModelError {
  if (error instanceof ModelError) return error;
  if (error instanceof APIError && isRow(error.error)) {
    const row = error.error;
    const reason = reasonOf(row);
    const words = firstText(row.message, row.detail) || "no reason was given";
    return new ModelError(`the answer ended with ${reason || "an error"}: ${words}`, {
      reason,
      retryable: typeof row.retryable === "boolean" ? row.retryable : isRetryable(0, reason),
      cause: error,
    });
  }
  const code = errorCode(error);
  const words = errorText(error) || code;
  return new ModelError(`the backend could not be reached: ${words}`, {
    reason: "UNAVAILABLE",
    retryable: true,
    cause: error,
  });
}

/** Reasons under which waiting helps, of devmesh and of the dialect. */
const passing = new Set([
  "RATE_LIMITED",
  "PROVIDER_UNAVAILABLE",
  "PROVIDER_PROTOCOL",
  "UNAVAILABLE",
  "DEADLINE_EXCEEDED",
  "DRAINING",
  "SERVER_ERROR",
  "API_ERROR",
  "RATE_LIMIT_EXCEEDED",
  "",
]);

/** Reasons under which it does not, though their status looks so. */
const final = new Set(["BUDGET_EXCEEDED", "INSUFFICIENT_QUOTA", "UNIMPLEMENTED", "INTERNAL"]);

/** Whether to try again where no `retryable` is said. Status 0: within a stream, only the reason counts. */
function isRetryable(status: number, reason: string): boolean {
  if (final.has(reason) || status === 501) return false;
  if (status === 0) return passing.has(reason);
  return status === 408 || status === 429 || status >= 500;
}

function reasonOf(row: Readonly<Record<string, unknown>>): string {
  return firstText(row.reason, row.code, row.type).toUpperCase();
}

function retryAfterOf(header: string | null): number | undefined {
  if (header === null) return undefined;
  const seconds = Number(header);
  return Number.isFinite(seconds) && seconds >= 0 ? seconds * 1000 : undefined;
}

function parsed(text: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text);
    return isRow(value) ? value : {};
  } catch {
    // Not JSON: the caller shows the text itself.
    return {};
  }
}

function isRow(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function firstText(...values: readonly unknown[]): string {
  for (const value of values) if (typeof value === "string" && value !== "") return value;
  return "";
}
