/** Runs the real command line as a child process. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";

const sourceBin = join(import.meta.dirname, "..", "..", "cli", "bin", "devmesh.js");

/** How a run ended. */
export interface CliResult {
  readonly code: number | null;
  readonly stdout: Buffer;
  readonly out: string;
  readonly err: string;
}

/** How to run. */
export interface CliOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  readonly input?: string;
  /** Another binary than the tests' own Node. */
  readonly node?: string;
  /** Another `devmesh.js` than the repository's. */
  readonly bin?: string;
  /** Hears each piece of stderr, with all of it so far. */
  readonly onErr?: (text: string, child: ChildProcess) => void;
}

/** Runs `devmesh` with an environment that holds nothing of the caller's. */
export async function runCli(
  args: readonly string[],
  options: CliOptions = {},
): Promise<CliResult> {
  const { env, cwd, input = "", node = process.execPath, bin = sourceBin, onErr } = options;
  const child = spawn(node, [bin, ...args], {
    cwd,
    env: { PATH: process.env.PATH, HOME: "/nonexistent", ...env },
  });
  const stdout: Buffer[] = [];
  let err = "";
  child.stdout.on("data", (chunk: Buffer) => stdout.push(chunk));
  child.stderr.on("data", (chunk: Buffer) => {
    err += chunk.toString();
    onErr?.(err, child);
  });
  child.stdin.end(input);
  const [code] = (await once(child, "close")) as [number | null];
  const all = Buffer.concat(stdout);
  return { code, stdout: all, out: all.toString(), err };
}

/** The JSON documents of an output, one a line. */
export function jsonLines(text: string): Record<string, unknown>[] {
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}
