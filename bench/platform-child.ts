/** A real `devmesh up` for a bench: a child process with a fresh data folder of its own. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

/** A platform that is up. */
export interface PlatformChild {
  readonly url: string;
  /** The owner's token. */
  readonly token: string;
  readonly pid: number;
  /** From the start of the process to its word that it is up, in milliseconds. */
  readonly upMs: number;
  /** Stops it and removes its data. */
  close(): Promise<void>;
}

/** How a platform is started. */
export interface PlatformChildOptions {
  /** Settings besides those of every bench. */
  readonly env?: Readonly<Record<string, string>>;
  /** True: the embedded models of this machine's cache are offered. Default: false. */
  readonly models?: boolean;
}

const program = fileURLToPath(new URL("../cli/bin/devmesh.js", import.meta.url));

/** Starts `devmesh up` with SQLite and process sandboxes; its log goes to a file. */
export async function startPlatformChild(
  options: PlatformChildOptions = {},
): Promise<PlatformChild> {
  const folder = mkdtempSync(join(tmpdir(), "devmesh-bench-"));
  const startedAt = performance.now();
  const args = ["up", "--json", "--api-port", "0", "--private-ports", "auto"];
  const child = spawn(
    process.execPath,
    [...profiling(), program, ...args, "--data-dir", join(folder, "data"), "--log-level", "info"],
    {
      stdio: ["ignore", "pipe", openSync(join(folder, "log"), "a")],
      env: {
        ...process.env,
        SANDBOX_DRIVERS: "process",
        ...(options.models !== true && { DEVMESH_CACHE_DIR: join(folder, "cache") }),
        ...options.env,
      },
    },
  );
  // A bench that dies takes its platform along.
  const endWithBench = () => child.kill("SIGKILL");
  process.once("exit", endWithBench);
  const close = async () => {
    await stop(child);
    process.removeListener("exit", endWithBench);
    rmSync(folder, { recursive: true, force: true });
  };
  const line = await firstLine(child);
  if (line === undefined) {
    const log = readFileSync(join(folder, "log"), "utf8");
    await close();
    throw new Error(`devmesh up did not start: ${log.slice(-2000)}`);
  }
  const upMs = performance.now() - startedAt;
  const { url, ownerTokenPath, pid } = JSON.parse(line) as Record<string, unknown>;
  const token = readFileSync(String(ownerTokenPath), "utf8").trim();
  return { url: String(url), token, pid: Number(pid), upMs, close };
}

/** BENCH_PROFILE: a folder that gets a CPU profile of the platform. */
function profiling(): string[] {
  const folder = process.env.BENCH_PROFILE;
  return folder === undefined ? [] : ["--cpu-prof", `--cpu-prof-dir=${folder}`];
}

async function firstLine(child: ChildProcess): Promise<string | undefined> {
  if (child.stdout === null) return undefined;
  for await (const line of createInterface({ input: child.stdout })) return line;
  return undefined;
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, "exit");
  child.kill("SIGTERM");
  await ended;
}
