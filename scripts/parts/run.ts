/**
 * Runs external commands to their end, always with a time limit, and finds binaries.
 * Long-lived processes are started by `child.ts`.
 */
import { execFile } from "node:child_process";
import { accessSync, constants, statSync } from "node:fs";
import { delimiter, join } from "node:path";
import { lastLines } from "./text.ts";

const maxOutputBytes = 64 * 1024 * 1024;
const errorLines = 12;

/** How a command is run. */
export interface RunOptions {
  /** The command is killed after this time. */
  timeoutMs: number;
  cwd?: string | undefined;
  /** Added to the environment of this process. */
  env?: Record<string, string> | undefined;
  uid?: number | undefined;
  gid?: number | undefined;
}

/**
 * Runs a command and gives its standard output. Throws with the last lines of what it said when
 * it cannot be started, ends with another status than 0, or takes longer than `timeoutMs`.
 */
export function run(command: string, args: string[], options: RunOptions): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = execFile(
      command,
      args,
      {
        cwd: options.cwd,
        env: { ...process.env, ...options.env },
        uid: options.uid,
        gid: options.gid,
        timeout: options.timeoutMs,
        killSignal: "SIGKILL",
        maxBuffer: maxOutputBytes,
        encoding: "utf8",
      },
      (error, stdout, stderr) => {
        if (!error) return resolve(stdout);
        const how = error.killed
          ? `was ended after ${options.timeoutMs} ms`
          : `ended with ${error.code ?? error.signal}`;
        const said = lastLines(stderr.trim() || stdout, errorLines);
        reject(new Error(`${command} ${args[0] ?? ""} ${how}: ${said}`, { cause: error }));
      },
    );
    child.stdin?.end();
  });
}

/** Whether this process may install packages and start engines. */
export function isRoot(): boolean {
  return process.getuid?.() === 0;
}

/** The path of a binary on PATH, or `undefined`. */
export function findOnPath(name: string): string | undefined {
  return findIn(name, (process.env.PATH ?? "").split(delimiter));
}

/** The path of an executable file in the first folder that has it. */
export function findIn(name: string, folders: string[]): string | undefined {
  return folders
    .filter((folder) => folder !== "")
    .map((folder) => join(folder, name))
    .find(isExecutableFile);
}

function isExecutableFile(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}
