/**
 * Starts one program under bubblewrap and answers once it really runs. The
 * layout of its world and the limits come from the caller.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { openSync } from "node:fs";
import { constants as os } from "node:os";
import type { Readable, Writable } from "node:stream";
import { setTimeout as pause } from "node:timers/promises";
import { DevmeshError } from "@devmesh/mesh/errors";
import type { Cgroup } from "../cgroup.ts";
import { commandNotFound, sandboxFailed } from "../driver-errors.ts";
import { children, commandLine } from "../process-tree.ts";
import { ProgramOutput } from "../program-output.ts";
import { BwrapProcess } from "./bwrap-process.ts";
import { closeAll, coveredStdio, openPipe } from "./launch-files.ts";
import { endStrays } from "./strays.ts";

/** One start. */
export interface LaunchOptions {
  /** The sandbox's id, a part of the paths among `args`. */
  readonly sandboxId: string;
  readonly bwrap: string;
  /** bubblewrap's own arguments, without the program. */
  readonly args: readonly string[];
  /** Commands that run each other and at last the program, inside the sandbox. May be empty. */
  readonly wrappers: readonly (readonly string[])[];
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** The host's user to run as; absent: this process's. */
  readonly user: number | undefined;
  readonly cgroup: Cgroup | undefined;
  /** The seccomp filter's file. */
  readonly seccomp: string | undefined;
  /** Two named pipes of the host, used up by this start. */
  readonly pipes: readonly [string, string];
  /** Whether the program gets an input. */
  readonly stdin: boolean;
  readonly signal?: AbortSignal;
}

/** The file descriptors that bubblewrap gets, above the standard three. */
const fd = { status: 3, block: 4, args: 5, seccomp: 6 } as const;

/**
 * Starts the program. Throws COMMAND_NOT_FOUND where it or its folder is not
 * there, SANDBOX_FAILED where bubblewrap fails.
 */
export async function launch(options: LaunchOptions): Promise<BwrapProcess> {
  const { cgroup, signal } = options;
  if (signal?.aborted) throw new DevmeshError("CANCELLED", "the start was cancelled");
  const killsBefore = cgroup?.oomKills() ?? Promise.resolve(0);
  const bwrapArgs = [
    ...options.args,
    ...["--json-status-fd", `${fd.status}`, "--block-fd", `${fd.block}`, "--args", `${fd.args}`],
    ...(options.seccomp ? ["--seccomp", `${fd.seccomp}`] : []),
    ...["--", ...options.wrappers.flat(), ...options.argv],
  ];
  const { child, stdout, stderr } = spawnBwrap(options, bwrapArgs);
  const output = new ProgramOutput(stdout, stderr);
  const status = new StatusReader(child);
  status.killed
    .then(() => endStrays(options.bwrap, options.sandboxId))
    .catch(() => {
      // What stays holds the report open: the sandbox's deletion fails, and tells.
    });
  const abort = () => child.kill("SIGKILL");
  signal?.addEventListener("abort", abort, { once: true });
  try {
    // Moving a process waits for a grace period of the kernel, a second move soon
    // after does not: begun here, the wait passes while bubblewrap sets up.
    const moved = child.pid === undefined ? undefined : cgroup?.add(child.pid);
    // bubblewrap has ended already: what it said is thrown below.
    moved?.catch(() => {});
    feed(child, fd.args, environmentArgs(options.env));
    const init = await status.childPid;
    if (init === undefined) throw failure(options, await output.errorText());
    await Promise.all([moved, cgroup?.add(init), killsBefore]);
    const running = new BwrapProcess({
      init,
      ended: status.ended,
      output,
      stdin: child.stdin,
      capKilled: async () => ((await cgroup?.oomKills()) ?? 0) > (await killsBefore),
    });
    feed(child, fd.block, "go");
    const ownLines = new Set([
      line([options.bwrap, ...bwrapArgs]),
      ...options.wrappers.map((_, at) =>
        line([...options.wrappers.slice(at).flat(), ...options.argv]),
      ),
    ]);
    while (!status.hasEnded && !(await isRunning(init, ownLines))) await pause(1);
    if (status.hasEnded) await judge(options, status, output);
    signal?.throwIfAborted();
    return running;
  } catch (error: unknown) {
    child.kill("SIGKILL");
    await status.ended;
    stdout.destroy();
    stderr.destroy();
    throw signal?.aborted
      ? new DevmeshError("CANCELLED", "the start was cancelled", { cause: error })
      : error;
  } finally {
    signal?.removeEventListener("abort", abort);
  }
}

function spawnBwrap(options: LaunchOptions, args: readonly string[]) {
  const stdout = openPipe(options.pipes[0]);
  const stderr = openPipe(options.pipes[1]);
  const filter = options.seccomp === undefined ? [] : [openSync(options.seccomp, "r")];
  const nothing = openSync("/dev/null", "r");
  try {
    const input = options.stdin ? "pipe" : "ignore";
    const wanted = [input, stdout.write, stderr.write, "pipe", "pipe", "pipe", ...filter] as const;
    const child = spawn(options.bwrap, args, {
      stdio: coveredStdio(wanted, nothing),
      // Nothing of the host's. The caller's variables go by `--args`: there
      // they touch neither bubblewrap itself nor what `ps` shows.
      env: {},
      cwd: "/",
      ...(options.user !== undefined && { uid: options.user, gid: options.user }),
    });
    return { child, stdout: stdout.read, stderr: stderr.read };
  } finally {
    closeAll([stdout.write, stderr.write, ...filter, nothing]);
  }
}

/** Follows what bubblewrap reports of itself. */
class StatusReader {
  /** The first process of the sandbox; undefined if bubblewrap ended without one. */
  readonly childPid: Promise<number | undefined>;
  /** Resolves when bubblewrap itself was killed: a child of it may live. */
  readonly killed: Promise<void>;
  /** The program's exit status when bubblewrap is gone, and all that could report of it. */
  readonly ended: Promise<number>;
  hasEnded = false;
  #text = "";

  constructor(child: ChildProcess) {
    const pid = Promise.withResolvers<number | undefined>();
    const killed = Promise.withResolvers<void>();
    const end = Promise.withResolvers<number>();
    this.childPid = pid.promise;
    this.killed = killed.promise;
    this.ended = end.promise;
    const reports = child.stdio[fd.status] as Readable;
    reports.setEncoding("latin1").on("data", (text: string) => {
      this.#text += text;
      const found = /"child-pid": (\d+)/.exec(this.#text)?.[1];
      if (found !== undefined) pid.resolve(Number(found));
    });
    // Its end is the process's end, which is reported below.
    reports.on("error", () => {});
    const finish = (code: number) => {
      this.hasEnded = true;
      pid.resolve(undefined);
      end.resolve(this.#exitCode() ?? code);
    };
    child.on("error", () => finish(127));
    child.on("exit", (code, signal) => {
      if (signal !== null) killed.resolve();
      const status = code ?? 128 + os.signals[signal ?? "SIGKILL"];
      // The last report may still lie in the pipe.
      if (reports.readableEnded || reports.destroyed) finish(status);
      else reports.once("close", () => finish(status));
    });
  }

  /** True if the program was started: bubblewrap reports no exit code otherwise. */
  get hasRun(): boolean {
    return this.#exitCode() !== undefined;
  }

  #exitCode(): number | undefined {
    const code = /"exit-code": (\d+)/.exec(this.#text)?.[1];
    return code === undefined ? undefined : Number(code);
  }
}

/** True when the sandbox's first process has a child that is neither bubblewrap nor the wrapper. */
async function isRunning(init: number, ownLines: ReadonlySet<string>): Promise<boolean> {
  const [program] = await children(init);
  if (program === undefined) return false;
  const shown = await commandLine(program);
  return shown !== "" && !ownLines.has(shown);
}

/** A command line as `/proc` shows it. */
function line(argv: readonly string[]): string {
  return `${argv.join("\0")}\0`;
}

/** Tells a program that ended at once from one that never started; throws for the latter. */
async function judge(
  options: LaunchOptions,
  status: StatusReader,
  output: ProgramOutput,
): Promise<void> {
  const code = await status.ended;
  const last = options.wrappers.at(-1)?.[0];
  const wrapped = last !== undefined && (code === 126 || code === 127);
  if (status.hasRun && !wrapped) return;
  const text = await output.errorText();
  if (status.hasRun && !text.startsWith(`${last}: failed to execute `)) return;
  throw failure(options, text);
}

function failure(options: LaunchOptions, text: string): DevmeshError {
  const command = options.argv[0] ?? "";
  const detail = text.trim().split(": ").at(-1) ?? "";
  if (/^bwrap: execvp |: failed to execute /m.test(text)) return commandNotFound(command, detail);
  if (text.startsWith("bwrap: Can't chdir ")) {
    return commandNotFound(command, `its folder cannot be entered: ${detail}`);
  }
  return sandboxFailed("process", "the sandbox could not be started", new Error(text.trim()));
}

function environmentArgs(env: Readonly<Record<string, string>>): string {
  return Object.entries(env)
    .map(([key, value]) => `--setenv\0${key}\0${value}\0`)
    .join("");
}

function feed(child: ChildProcess, at: number, text: string): void {
  const stream = [...child.stdio][at] as Writable;
  // bubblewrap has ended before it read: its exit status says why.
  stream.on("error", () => {});
  stream.end(text);
}
