/** Owns how an error looks: a line for people, an object for programs; never a stack. */
import { Code, DevmeshApiError } from "@devmesh/sdk";
import { exitCodeOf } from "./exit-codes.ts";
import { UsageError } from "./usage-error.ts";

/** An error as `--json` shows it on stderr. */
export interface ErrorReport {
  readonly message: string;
  readonly reason: string;
  readonly exitCode: number;
  readonly remedy: string;
  readonly code?: string;
  readonly metadata?: Readonly<Record<string, string>>;
  readonly requestId?: string;
  readonly retryable?: boolean;
}

/** Describes anything thrown. */
export function describeError(error: unknown, url: string): ErrorReport {
  const exitCode = exitCodeOf(error);
  if (error instanceof DevmeshApiError) {
    const { message, reason, metadata, requestId, retryable } = error;
    const remedy = remedyOf(error, url);
    const code = Code[error.code];
    return { message, reason, exitCode, remedy, code, metadata, requestId, retryable };
  }
  const message = error instanceof Error ? error.message : String(error);
  const remedy = error instanceof UsageError ? error.remedy : localRemedy(error);
  return { message, reason: localReason(error), exitCode, remedy };
}

/** The same for people. */
export function formatError(report: ErrorReport): string {
  const facts = [report.reason, report.requestId && `request ${report.requestId}`];
  const told = facts.filter(Boolean).join(", ");
  const first = `error: ${oneLine(report.message)}${told === "" ? "" : ` [${told}]`}\n`;
  return report.remedy === "" ? first : `${first}remedy: ${report.remedy}\n`;
}

function oneLine(text: string): string {
  return text.replaceAll(/\s*\n\s*/g, " ");
}

function localReason(error: unknown): string {
  if (!(error instanceof Error)) return "INTERNAL";
  switch (error.name) {
    // What the platform's own code throws names its reason.
    case "DevmeshError":
      return "reason" in error ? String(error.reason) : "INTERNAL";
    case "UsageError":
      return "USAGE";
    case "DevmeshConfigError":
      return "CONFIG_INVALID";
    case "WorkspaceError":
      return "WORKSPACE_INVALID";
    case "WorkspaceConflictError":
      return "WORKSPACE_CONFLICT";
    case "JobStreamError":
      return "LOG_NOT_WHOLE";
    case "BackupError":
      return "BACKUP_NOT_WHOLE";
    default:
      // The system's own codes, of files: ENOSPC, EACCES.
      return "code" in error && /^E[A-Z]+$/.test(String(error.code))
        ? String(error.code)
        : "INTERNAL";
  }
}

function localRemedy(error: unknown): string {
  const isConflict = error instanceof Error && error.name === "WorkspaceConflictError";
  return isConflict ? "the job's artifact changes.patch has all of it; merge it by hand" : "";
}

function remedyOf(error: DevmeshApiError, url: string): string {
  switch (error.reason) {
    case "UNAVAILABLE":
      return error.fromServer
        ? "`devmesh doctor` shows which part is down"
        : `is devmesh up at ${url}? Start it with \`devmesh up\`, or name it with --url or DEVMESH_URL`;
    case "UNAUTHENTICATED":
      return "give a valid token with --token or DEVMESH_TOKEN";
    case "SCOPE_MISSING":
      return `use a token with the scope ${error.metadata.scope ?? "that the call needs"}`;
    case "NOT_FOUND":
      return error.metadata.resource === "job"
        ? "`devmesh jobs list` shows the jobs there are"
        : "";
    case "KEY_REUSED":
      return `use a new --key, or none, for another request${
        error.metadata.job_id === undefined
          ? ""
          : `; \`devmesh jobs get ${error.metadata.job_id}\` shows the job that the key made`
      }`;
    case "MODEL_NOT_FOUND":
      return "`devmesh models` shows the models there are";
    case "ISOLATION_UNAVAILABLE":
      return error.metadata.remedy ?? "`devmesh doctor` shows what each runner can give";
    case "RATE_LIMITED":
      return error.retryAfterMs === undefined
        ? "try again later"
        : `try again in ${Math.ceil(error.retryAfterMs / 1000)} s`;
    default:
      return "";
  }
}
