/** `devmesh …` as a child process that cannot outlive the tests. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { onExit } from "../../scripts/parts/sweep.ts";
import { within } from "./wait.ts";

/** This repository. */
export const root = join(import.meta.dirname, "..", "..");

const bin = join(root, "cli", "bin", "devmesh.js");

/** How to run `devmesh`. */
export interface ProgramOptions {
  readonly args: readonly string[];
  /** Its whole environment besides PATH. */
  readonly env: Readonly<Record<string, string>>;
  /** What stands before the command, for example what enters a namespace. Default: nothing. */
  readonly prefix?: readonly string[];
  /** True: its own end is no surprise. Default: false. */
  readonly quiet?: boolean;
  /** The longest that `runProgram` waits for the end, in milliseconds. Default: a minute. */
  readonly limitMs?: number;
}

/** A `devmesh` that was started. */
export interface Program {
  readonly child: ChildProcess;
  /** What it has written so far. */
  readonly out: () => string;
  readonly err: () => string;
  /** The exit status; null where a signal ended it. */
  readonly ended: Promise<number | null>;
  /** Sends a signal and waits for the end. */
  end(signal: NodeJS.Signals): Promise<number | null>;
}

/** Starts it. */
export function startProgram({ args, env, prefix = [], quiet = false }: ProgramOptions): Program {
  const [command = "", ...words] = [...prefix, process.execPath, bin, ...args];
  const child = spawn(command, words, {
    env: { PATH: process.env.PATH, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const texts = { out: "", err: "" };
  child.stdout.on("data", (chunk: Buffer) => {
    texts.out += chunk.toString();
  });
  child.stderr.on("data", (chunk: Buffer) => {
    texts.err += chunk.toString();
  });
  const forget = onExit(() => child.kill("SIGKILL"));
  let asked = false;
  const ended = once(child, "close").then(([code]) => {
    forget();
    // One that ends by itself is told: what fails then is only the consequence.
    if (!asked && !quiet && code !== 0)
      process.stderr.write(`${args[0]} ended: ${texts.err.slice(-2000)}\n`);
    return code as number | null;
  });
  const name = `devmesh ${args[0] ?? ""}`;
  return {
    child,
    out: () => texts.out,
    err: () => texts.err,
    ended,
    end(signal) {
      asked = true;
      child.kill(signal);
      return within(`${name} ends after ${signal}: ${texts.err.slice(-500)}`, ended);
    },
  };
}

/** Runs it to its end, which must come. */
export async function runProgram(
  options: ProgramOptions,
): Promise<{ code: number | null; out: string; err: string }> {
  const program = startProgram({ ...options, quiet: true });
  try {
    const code = await within(
      `devmesh ${options.args.join(" ")} ends`,
      program.ended,
      options.limitMs,
    );
    return { code, out: program.out(), err: program.err() };
  } finally {
    if (program.child.exitCode === null) program.child.kill("SIGKILL");
  }
}
