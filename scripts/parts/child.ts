/**
 * Starts a long-lived process, waits until it is ready, and ends it: by `stop`, when this
 * process exits, and, where the kernel can, when this process is killed.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { messageOf } from "./part.ts";
import { findOnPath } from "./run.ts";
import { onExit } from "./sweep.ts";
import { logTail } from "./text.ts";

const readyPollMs = 50;
const stopLimitMs = 30_000;

/** How a process is started and how it is known to be ready. */
export interface ChildOptions {
  /** Both outputs are appended to this file. */
  logPath: string;
  /** Answers whether the process serves; it is asked again until it does. May throw. */
  ready: () => Promise<boolean>;
  readyTimeoutMs: number;
  /** Added to the environment of this process. */
  env?: Record<string, string> | undefined;
  cwd?: string | undefined;
  uid?: number | undefined;
  gid?: number | undefined;
  /** Asks the process to end. Default: SIGTERM. */
  stopSignal?: NodeJS.Signals | undefined;
  /** Sent when this process ends without `stop`. Default: the stop signal. */
  exitSignal?: NodeJS.Signals | undefined;
}

/** A process that is ready. */
export interface Child {
  pid: number;
  /** Resolves when the process has ended, by `stop` or by itself. */
  ended: Promise<void>;
  /** Resolves when the process has ended. After half a minute it is killed. */
  stop(): Promise<void>;
}

/**
 * Starts `command` and resolves when it is ready. Throws with the last lines of its log when it
 * ends before that or is not ready in time; no process is left then.
 */
export async function startChild(
  command: string,
  args: string[],
  options: ChildOptions,
): Promise<Child> {
  const stopSignal = options.stopSignal ?? "SIGTERM";
  const exitSignal = options.exitSignal ?? stopSignal;
  const child = await launch(command, args, exitSignal, options);
  const pid = child.pid;
  if (pid === undefined) throw new Error(`${command} was started without a process id`);
  const forget = onExit(() => child.kill(exitSignal));
  const ended = once(child, "exit").then(() => void forget());
  const stop = async () => {
    forget();
    await end(child, stopSignal);
  };
  try {
    await untilReady(command, child, options);
  } catch (error: unknown) {
    await stop();
    throw error;
  }
  return { pid, ended, stop };
}

/** Resolves when the process runs; rejects when it cannot be started. */
async function launch(
  command: string,
  args: string[],
  exitSignal: NodeJS.Signals,
  options: ChildOptions,
): Promise<ChildProcess> {
  // A parent that is killed runs no exit handler: the kernel sends the signal instead.
  const setpriv = process.platform === "linux" ? findOnPath("setpriv") : undefined;
  const [file, fileArgs] = setpriv
    ? [setpriv, ["--pdeathsig", exitSignal.slice(3), "--", command, ...args]]
    : [command, args];
  const log = openSync(options.logPath, "a");
  try {
    const child = spawn(file, fileArgs, {
      cwd: options.cwd,
      env: { ...process.env, ...options.env },
      uid: options.uid,
      gid: options.gid,
      stdio: ["ignore", log, log],
    });
    await once(child, "spawn");
    return child;
  } finally {
    closeSync(log);
  }
}

async function untilReady(
  command: string,
  child: ChildProcess,
  options: ChildOptions,
): Promise<void> {
  const deadline = Date.now() + options.readyTimeoutMs;
  let last = "it gave no answer";
  while (!hasEnded(child)) {
    try {
      if (await options.ready()) return;
    } catch (error: unknown) {
      last = messageOf(error);
    }
    if (Date.now() > deadline) {
      const said = await logTail(options.logPath);
      throw new Error(
        `${command} was not ready in ${options.readyTimeoutMs} ms (${last}): ${said}`,
      );
    }
    await delay(readyPollMs);
  }
  const how = child.exitCode ?? child.signalCode;
  throw new Error(`${command} ended with ${how}: ${await logTail(options.logPath)}`);
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (hasEnded(child)) return;
  const ended = once(child, "exit");
  child.kill(signal);
  const kill = setTimeout(() => child.kill("SIGKILL"), stopLimitMs);
  await ended;
  clearTimeout(kill);
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}
