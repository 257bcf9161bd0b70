/** Owns working on a branch of its own where the work dir is a git repository. */
import { errorText, oneLine } from "./text.ts";
import type { Jail } from "./tools/jail.ts";
import { runProgram } from "./tools/program.ts";

/** What git needs to know nothing of the machine. */
const quiet = ["-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false"];

/**
 * Lets the repository stand on the branch `devmesh/<job>`, so that what the agent
 * commits is on no branch of anybody else. Files stay as they are. Answers what
 * was done, in words; empty where there is no repository.
 */
export async function useOwnBranch(
  jail: Jail,
  jobId: string,
  env: Readonly<Record<string, string | undefined>>,
  signal: AbortSignal,
): Promise<string> {
  const { exists } = await jail.resolve(".git").catch(() => ({ exists: false }));
  if (!exists) return "";
  const branch = `devmesh/${jobId || "job"}`;
  const safe = ["-c", `safe.directory=${jail.root}`];
  try {
    const { status, output } = await runProgram({
      argv: ["git", ...quiet, ...safe, "switch", "--quiet", "--create", branch],
      cwd: jail.root,
      env: { ...env, GIT_TERMINAL_PROMPT: "0" },
      timeoutMs: 30_000,
      maxBytes: 4096,
      signal,
    });
    return status === 0 ? `works on the branch ${branch}` : `no own branch: ${oneLine(output)}`;
  } catch (error) {
    signal.throwIfAborted();
    // Without git the files alone are the work.
    return `no own branch: ${oneLine(errorText(error))}`;
  }
}
