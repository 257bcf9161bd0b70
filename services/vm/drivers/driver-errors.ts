/**
 * What all drivers share: the refusals of the port, what a probe says of one, and
 * the few variables that every program gets.
 */
import { DevmeshError, invalidField } from "@devmesh/mesh/errors";
import type { DriverProbe, ExecSpec, SandboxDoor } from "./driver.ts";

/** The variables of every sandbox; `ExecSpec.env` is added and wins. */
export const sandboxVariables: Readonly<Record<string, string>> = {
  PATH: "/usr/local/bin:/usr/bin:/bin",
  HOME: "/tmp",
  TMPDIR: "/tmp",
  LANG: "C.UTF-8",
};

/** Where a door appears in the sandbox. */
export function doorPath(name: SandboxDoor["name"]): string {
  return `/run/devmesh/${name}.sock`;
}

/** The refusal of a program that is not there or cannot be executed. */
export function commandNotFound(command: string, detail: string): DevmeshError {
  return new DevmeshError("COMMAND_NOT_FOUND", `${command}: ${detail}`, { metadata: { command } });
}

/** A sandbox that could not be made or broke. */
export function sandboxFailed(driver: string, message: string, cause?: unknown): DevmeshError {
  return new DevmeshError("SANDBOX_FAILED", message, { metadata: { driver }, cause });
}

/** The error of a start that failed or was cancelled; what is known already stays as it is. */
export function startFailed(driver: string, error: unknown, signal?: AbortSignal): DevmeshError {
  if (error instanceof DevmeshError) return error;
  if (signal?.aborted) {
    return new DevmeshError("CANCELLED", "the start was cancelled", { cause: error });
  }
  const detail = error instanceof Error ? `: ${error.message}` : "";
  return sandboxFailed(driver, `the ${driver} sandbox could not be made${detail}`, error);
}

/** When a guest's start is given up. */
export interface StartBounds {
  /** The caller's. */
  readonly signal?: AbortSignal | undefined;
  /** Aborted once the start has taken `limitMs`. */
  readonly limit: AbortSignal;
  readonly limitMs: number;
}

/** The error of a guest that did not start: cancelled, too late, known already, or another. */
export function guestStartFailed(
  driver: string,
  error: unknown,
  { signal, limit, limitMs }: StartBounds,
): DevmeshError {
  if (signal?.aborted) {
    return new DevmeshError("CANCELLED", "the start was cancelled", { cause: error });
  }
  if (limit.aborted) {
    return sandboxFailed(driver, `the guest did not answer within ${limitMs} ms`, error);
  }
  if (error instanceof DevmeshError) return error;
  return sandboxFailed(driver, "the guest cannot be started", error);
}

/** What a driver needs and this host has not; `remedy` is what to do about it. */
export function unavailable(message: string, remedy: string, cause?: unknown): DevmeshError {
  return new DevmeshError("ISOLATION_UNAVAILABLE", message, { metadata: { remedy }, cause });
}

/** The same of virtual machines; the remedy is in the message, too. */
export function vmUnavailable(message: string, remedy: string, cause?: unknown): DevmeshError {
  return new DevmeshError("ISOLATION_UNAVAILABLE", `${message}; ${remedy}`, {
    metadata: { isolation: "vm", remedy },
    cause,
  });
}

/** What a probe answers that failed; `remedy` is for errors that know none. */
export function failedProbe(
  answer: Pick<DriverProbe, "driver" | "isolation" | "engine">,
  error: unknown,
  remedy: string,
): DriverProbe {
  const reason = error instanceof Error ? error.message : String(error);
  const known = error instanceof DevmeshError ? error.metadata.remedy : undefined;
  return { ...answer, available: false, reason, remedy: known ?? remedy };
}

const maxInputBytes = 16 * 1024 * 1024;

/** Throws INVALID_FIELD for what no driver can pass on as it is. */
export function checkExec({ argv, env, cwd = "/work", input }: ExecSpec): void {
  if (argv.length === 0 || argv[0] === "") throw invalidField("argv", "there is no program in it");
  if (argv.some((part) => part.includes("\0"))) throw invalidField("argv", "it has a NUL in it");
  for (const [key, value] of Object.entries(env)) {
    if (!/^[^=\0]+$/.test(key))
      throw invalidField("env", `${JSON.stringify(key)} cannot be a name`);
    if (value.includes("\0")) throw invalidField("env", `${key} has a NUL in it`);
  }
  if (!cwd.startsWith("/") || cwd.includes("\0")) {
    throw invalidField("cwd", "it must be an absolute path");
  }
  if (input !== undefined && input.length > maxInputBytes) {
    throw invalidField("input", `it has ${input.length} bytes, and at most ${maxInputBytes} pass`);
  }
}
