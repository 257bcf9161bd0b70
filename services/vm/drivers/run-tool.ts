/** Runs one of the host's own small tools to its end. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";

const execute = promisify(execFile);

/**
 * The tool's stdout. Throws with its stderr if it fails, is not there, or takes
 * longer than `timeoutMs` (default 10 s). The host's variables are not passed on.
 */
export async function runTool(
  file: string,
  args: readonly string[],
  options: { readonly signal?: AbortSignal; readonly timeoutMs?: number } = {},
): Promise<string> {
  const { stdout } = await execute(file, [...args], {
    timeout: options.timeoutMs ?? 10_000,
    killSignal: "SIGKILL",
    env: { PATH: `${process.env.PATH ?? ""}:/usr/sbin:/sbin:/usr/bin:/bin`, LC_ALL: "C" },
    ...(options.signal && { signal: options.signal }),
  });
  return stdout;
}
