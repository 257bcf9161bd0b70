/**
 * Owns running a program with bounded output, and ending it with everything it
 * started: each one leads a process group of its own.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { errorCode, errorText } from "../text.ts";
import { BoundedOutput } from "./bounded-output.ts";
import { ToolError } from "./tool.ts";

/** What to run, and within which bounds. */
export interface ProgramSpec {
  readonly argv: readonly string[];
  readonly cwd: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** After so many milliseconds the whole group is killed. */
  readonly timeoutMs: number;
  /** Most bytes of output that are kept. */
  readonly maxBytes: number;
  /** Kills the group too; the call then rejects with the signal's reason. */
  readonly signal: AbortSignal;
}

/** How a program ended. */
export interface ProgramEnd {
  /** Its exit status; undefined if a signal ended it. */
  readonly status: number | undefined;
  /** The signal's name. Empty if it exited. */
  readonly endedBy: string;
  readonly timedOut: boolean;
  /** Standard output and error as they came, head and tail. */
  readonly output: string;
  readonly outputBytes: number;
}

/** How long output may stay open after the end: only what left the group can hold it. */
const drainMs = 500;

/** Runs a program to its end. Throws `ToolError` if it cannot be started. */
export async function runProgram(spec: ProgramSpec): Promise<ProgramEnd> {
  spec.signal.throwIfAborted();
  const [program = "", ...args] = spec.argv;
  const child = spawnGroup(program, args, spec);
  const output = new BoundedOutput(spec.maxBytes);
  child.stdout?.on("data", (piece: Buffer) => output.add(piece));
  child.stderr?.on("data", (piece: Buffer) => output.add(piece));
  const killGroup = () => killGroupOf(child);
  let timedOut = false;
  const timer = setTimeout(() => {
    timedOut = true;
    killGroup();
  }, spec.timeoutMs);
  spec.signal.addEventListener("abort", killGroup, { once: true });
  try {
    const end = await exitOf(child, program);
    // What the program left running in the background ends with it.
    killGroup();
    await drained(child);
    spec.signal.throwIfAborted();
    return { ...end, timedOut, output: output.text(), outputBytes: output.totalBytes };
  } finally {
    clearTimeout(timer);
    spec.signal.removeEventListener("abort", killGroup);
  }
}

function spawnGroup(program: string, args: readonly string[], spec: ProgramSpec): ChildProcess {
  try {
    return spawn(program, args, {
      cwd: spec.cwd,
      env: { ...spec.env },
      detached: true,
      stdio: ["ignore", "pipe", "pipe"],
    });
  } catch (error) {
    throw new ToolError(`${program}: cannot be started: ${errorText(error)}`);
  }
}

function exitOf(
  child: ChildProcess,
  program: string,
): Promise<{ readonly status: number | undefined; readonly endedBy: string }> {
  return new Promise((resolve, reject) => {
    child.once("error", (error) => {
      const isMissing = errorCode(error) === "ENOENT";
      const words = isMissing ? "there is no such program" : errorText(error);
      reject(new ToolError(`${program}: ${words}`, { cause: error }));
    });
    child.once("exit", (code, signal) => {
      resolve({ status: code ?? undefined, endedBy: signal ?? "" });
    });
  });
}

function killGroupOf({ pid }: ChildProcess): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, "SIGKILL");
  } catch (error) {
    // ESRCH: all of it has ended; EPERM: what is left changed its user.
    const code = errorCode(error);
    if (code !== "ESRCH" && code !== "EPERM") throw error;
  }
}

/** Waits until the output has been read whole, or gives up on what holds it open. */
async function drained(child: ChildProcess): Promise<void> {
  const closed = Promise.all([child.stdout, child.stderr].map(closeOf));
  const { promise: late, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, drainMs);
  await Promise.race([closed, late]);
  clearTimeout(timer);
  child.stdout?.destroy();
  child.stderr?.destroy();
}

function closeOf(stream: NodeJS.ReadableStream | null): Promise<void> {
  if (stream === null || !stream.readable) return Promise.resolve();
  return new Promise((resolve) => stream.once("close", resolve));
}
