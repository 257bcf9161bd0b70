/** The REST form of an error: an RFC 9457 problem document. */
import { redact } from "../log/redact.ts";
import type { DevmeshError } from "./devmesh-error.ts";
import { isRetryable, statusOf } from "./reasons.ts";

/** RFC 9457 members, and devmesh's own: `reason`, `metadata`, `requestId`, `retryable`. */
export interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  readonly reason: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly requestId: string;
  readonly retryable: boolean;
}

/** The media type of a problem document. */
export const problemType = "application/problem+json";

/** Makes the problem document of an error. */
export function toProblem(error: DevmeshError, requestId: string): Problem {
  return {
    type: `https://devmesh.dev/errors#${error.reason}`,
    title: error.reason.toLowerCase().replaceAll("_", " "),
    status: statusOf(error.reason),
    detail: redact(error.message),
    reason: error.reason,
    metadata: error.metadata,
    requestId,
    retryable: isRetryable(error.reason),
  };
}
