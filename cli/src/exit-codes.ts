/** Owns the one table of exit codes and the way from an error to its code. */
import { Code, DevmeshApiError, DevmeshConfigError, JobStreamError } from "@devmesh/sdk";
import { UsageError } from "./usage-error.ts";

/** What the command line answers to the shell. */
export const exitCodes = {
  ok: 0,
  failed: 1,
  usage: 2,
  auth: 3,
  notFound: 4,
  conflict: 5,
  rateLimited: 6,
  unreachable: 7,
  timeout: 124,
  interrupted: 130,
  readerGone: 141,
} as const;

/** The same in words, for `--help`. */
export const exitCodeHelp: readonly (readonly [number, string])[] = [
  [exitCodes.ok, "done"],
  [exitCodes.failed, "the job failed, or an error without a code of its own"],
  [exitCodes.usage, "wrong arguments or input"],
  [exitCodes.auth, "no valid token, or one without the scope"],
  [exitCodes.notFound, "not found"],
  [exitCodes.conflict, "conflict with the present state"],
  [exitCodes.rateLimited, "rate limited, or a budget is used up"],
  [exitCodes.unreachable, "the server or a part of it cannot be reached"],
  [exitCodes.timeout, "a time limit was reached"],
  [exitCodes.interrupted, "interrupted or cancelled"],
  [exitCodes.readerGone, "the reader of stdout has gone"],
];

/** The exit code of anything thrown. */
export function exitCodeOf(error: unknown): number {
  if (error instanceof DevmeshApiError) return exitCodeOfApi(error);
  if (error instanceof UsageError || error instanceof DevmeshConfigError) return exitCodes.usage;
  if (error instanceof Error && error.name === "WorkspaceError") return exitCodes.usage;
  if (error instanceof Error && error.name === "WorkspaceConflictError") return exitCodes.conflict;
  if (error instanceof Error && error.name === "DevmeshError") return exitCodeOfPlatform(error);
  if (error instanceof JobStreamError) return exitCodes.failed;
  if (error instanceof Error && error.name === "AbortError") return exitCodes.interrupted;
  return exitCodes.failed;
}

/** What the platform's own code throws within this program. */
function exitCodeOfPlatform(error: Error): number {
  const codes: Readonly<Record<string, number>> = {
    ...{ INVALID_FIELD: exitCodes.usage, CONFIG_INVALID: exitCodes.usage },
    ...{ UNAUTHENTICATED: exitCodes.auth, SCOPE_MISSING: exitCodes.auth },
    ...{ POLICY_REFUSED: exitCodes.auth, NOT_FOUND: exitCodes.notFound },
    ...{ WRONG_STATE: exitCodes.conflict, ALREADY_EXISTS: exitCodes.conflict },
    ...{ UNAVAILABLE: exitCodes.unreachable },
  };
  return ("reason" in error && codes[String(error.reason)]) || exitCodes.failed;
}

function exitCodeOfApi(error: DevmeshApiError): number {
  switch (error.reason) {
    case "WRONG_STATE":
    case "SEQUENCE_GAP":
      return exitCodes.conflict;
    case "TOO_LARGE":
      return exitCodes.usage;
    default:
      return exitCodeOfConnect(error.code);
  }
}

function exitCodeOfConnect(code: Code): number {
  switch (code) {
    case Code.InvalidArgument:
      return exitCodes.usage;
    case Code.Unauthenticated:
    case Code.PermissionDenied:
      return exitCodes.auth;
    case Code.NotFound:
      return exitCodes.notFound;
    case Code.AlreadyExists:
    case Code.Aborted:
      return exitCodes.conflict;
    case Code.ResourceExhausted:
      return exitCodes.rateLimited;
    case Code.Unavailable:
      return exitCodes.unreachable;
    case Code.DeadlineExceeded:
      return exitCodes.timeout;
    case Code.Canceled:
      return exitCodes.interrupted;
    default:
      return exitCodes.failed;
  }
}
