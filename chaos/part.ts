/** A process of the platform that can be struck at any moment and comes back at once. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync, readFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { findOnPath } from "../scripts/parts/run.ts";
import { onExit } from "../scripts/parts/sweep.ts";

/** What a part is. */
export interface PartOptions {
  /** `up`, `api-1`, `vm-2`, …. */
  readonly name: string;
  /** What `devmesh` is called with. */
  readonly args: readonly string[];
  /** Its whole environment. */
  readonly env: Readonly<Record<string, string>>;
  /** Its output is appended to this file. */
  readonly logPath: string;
  /** Answers 200 when the part serves. */
  readonly readyUrl: string;
}

const program = fileURLToPath(new URL("../cli/bin/devmesh.js", import.meta.url));

/** The longest that a part may take to serve. */
const readyLimitMs = 120_000;

/** The longest that a clean stop may take. */
const stopLimitMs = 60_000;

/** Starts of one part in a row that end by themselves before it counts as broken. */
const maxFalseStarts = 3;

/** One process, and those that follow it. */
export class Part {
  readonly name: string;
  /** Ends that nobody asked for, with the end of the log. A defect each. */
  readonly surprises: string[] = [];
  /** Every process that it has been. */
  readonly pids = new Set<number>();
  readonly #options: PartOptions;
  #child: ChildProcess | undefined;
  #ready: Promise<void> = Promise.resolve();
  #wanted = false;
  #struck = false;
  #falseStarts = 0;
  #forget = () => {};

  constructor(options: PartOptions) {
    this.name = options.name;
    this.#options = options;
  }

  /** Starts it; from now on it comes back whenever it ends, until `stop`. */
  start(): void {
    this.#wanted = true;
    this.#launch();
  }

  /** Resolves when it serves. Throws if it does not come up. */
  async untilReady(): Promise<void> {
    for (;;) {
      const seen = this.#ready;
      await seen;
      // It may have been struck meanwhile.
      if (seen === this.#ready) return;
    }
  }

  /** SIGKILL; resolves when the process is gone. It is started again at once. */
  async kill(): Promise<void> {
    const child = this.#child;
    if (child === undefined || hasEnded(child)) return;
    this.#struck = true;
    const ended = once(child, "exit");
    child.kill("SIGKILL");
    await ended;
  }

  /** Stands still for a while, without knowing: SIGSTOP, then SIGCONT. */
  async stall(ms: number, signal: AbortSignal): Promise<void> {
    const child = this.#child;
    child?.kill("SIGSTOP");
    try {
      await delay(ms, undefined, { signal });
    } catch {
      // The run is over: nothing may stay stopped.
    } finally {
      child?.kill("SIGCONT");
    }
  }

  /** Asks it to end; answers what is wrong with how it did. Undefined: nothing. */
  async stop(): Promise<string | undefined> {
    this.#wanted = false;
    const child = this.#child;
    if (child === undefined || hasEnded(child)) return undefined;
    const ended = once(child, "exit");
    child.kill("SIGTERM");
    let killed = false;
    const timer = setTimeout(() => {
      killed = child.kill("SIGKILL");
    }, stopLimitMs);
    await ended;
    clearTimeout(timer);
    this.#forget();
    if (killed) return `${this.name} did not stop within ${stopLimitMs} ms: ${this.#logTail()}`;
    if (child.exitCode === 0) return undefined;
    const status = child.exitCode ?? child.signalCode;
    return `${this.name} stopped with status ${status}: ${this.#logTail()}`;
  }

  /** Ends it at once, for good. */
  abandon(): void {
    this.#wanted = false;
    this.#child?.kill("SIGKILL");
    this.#forget();
  }

  #launch(): void {
    const { args, env, logPath } = this.#options;
    // A run that is killed itself leaves nothing behind: the kernel sees to it where it can.
    const setpriv = process.platform === "linux" ? findOnPath("setpriv") : undefined;
    const node = [process.execPath, program, ...args];
    const [file = "", ...rest] = setpriv ? [setpriv, "--pdeathsig", "KILL", "--", ...node] : node;
    const log = openSync(logPath, "a");
    const child = spawn(file, rest, { env, stdio: ["ignore", log, log] });
    closeSync(log);
    this.#child = child;
    if (child.pid !== undefined) this.pids.add(child.pid);
    this.#struck = false;
    const forget = onExit(() => child.kill("SIGKILL"));
    this.#forget = forget;
    child.once("exit", () => {
      forget();
      this.#hasEnded(child);
    });
    this.#ready = this.#untilServes(child);
    // Whoever waits is told; nobody may be waiting.
    this.#ready.catch(() => {});
  }

  #hasEnded(child: ChildProcess): void {
    if (!this.#wanted) return;
    if (!this.#struck) {
      const status = child.exitCode ?? child.signalCode;
      this.surprises.push(`${this.name} ended by itself with ${status}: ${this.#logTail()}`);
      this.#falseStarts += 1;
      if (this.#falseStarts > maxFalseStarts) return;
    }
    this.#launch();
  }

  async #untilServes(child: ChildProcess): Promise<void> {
    const until = Date.now() + readyLimitMs;
    while (Date.now() < until) {
      if (hasEnded(child)) {
        // Another one is on its way, and `untilReady` asks for that one.
        if (this.#child !== child) return;
        throw new Error(`${this.name} does not start: ${this.#logTail()}`);
      }
      if (await answers(this.#options.readyUrl)) {
        this.#falseStarts = 0;
        return;
      }
      await delay(50);
    }
    throw new Error(`${this.name} does not serve within ${readyLimitMs} ms: ${this.#logTail()}`);
  }

  #logTail(): string {
    return readFileSync(this.#options.logPath, "utf8").slice(-1_500).trim();
  }
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

async function answers(url: string): Promise<boolean> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(2_000) });
    await response.arrayBuffer();
    return response.ok;
  } catch {
    // It does not listen yet, or stands still.
    return false;
  }
}
