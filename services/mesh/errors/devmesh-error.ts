/**
 * Owns the one error class that devmesh throws. Mapping it to a protocol is
 * left to `connect-errors.ts` and `problem.ts`.
 */
import type { Reason } from "./reasons.ts";

/** What an error carries besides its message. */
export interface DevmeshErrorOptions {
  /** Facts for programs, for example `{ field: "argv" }`. Never a secret. */
  readonly metadata?: Readonly<Record<string, string>>;
  /** The error below, for the log only; it never leaves the process. */
  readonly cause?: unknown;
  /** When the same call may be tried again, in milliseconds. */
  readonly retryAfterMs?: number;
}

/** A refusal or a failure with its reason from the one taxonomy. */
export class DevmeshError extends Error {
  override readonly name = "DevmeshError";
  /** The reason; decides gRPC code and HTTP status. */
  readonly reason: Reason;
  /** Facts for programs. */
  readonly metadata: Readonly<Record<string, string>>;
  /** When the same call may be tried again, in milliseconds. */
  readonly retryAfterMs: number | undefined;

  /**
   * `message` is shown to the caller: it names the field, the cause and the
   * remedy. What is longer than 2,000 characters is cut there, the facts too.
   */
  constructor(reason: Reason, message: string, options: DevmeshErrorOptions = {}) {
    super(clip(message), { cause: options.cause });
    this.reason = reason;
    this.metadata = clipAll(options.metadata ?? {});
    this.retryAfterMs = options.retryAfterMs;
  }
}

/** Refusals repeat what they were sent, and gRPC sends them in a trailer: it must stay short. */
const maxLength = 2000;

function clip(text: string): string {
  return text.length <= maxLength ? text : `${text.slice(0, maxLength - 1).toWellFormed()}…`;
}

function clipAll(metadata: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  if (Object.values(metadata).every((text) => text.length <= maxLength)) return metadata;
  return Object.fromEntries(Object.entries(metadata).map(([name, text]) => [name, clip(text)]));
}

/** A field that is missing, malformed or out of bounds. */
export function invalidField(field: string, message: string): DevmeshError {
  return new DevmeshError("INVALID_FIELD", `${field}: ${message}`, { metadata: { field } });
}

/** A resource that does not exist, or that the caller may not know of. */
export function notFound(resource: string, id: string): DevmeshError {
  return new DevmeshError("NOT_FOUND", `there is no ${resource} ${JSON.stringify(id)}`, {
    metadata: { resource, id },
  });
}
