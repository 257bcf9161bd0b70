/**
 * What all drivers share: the refusals of the port and the few variables that
 * every program gets.
 */
import { DevmeshError, invalidField } from "@devmesh/mesh/errors";
import type { ExecSpec, SandboxDoor } from "./driver.ts";

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
