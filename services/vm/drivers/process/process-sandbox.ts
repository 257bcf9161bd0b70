/**
 * One process sandbox: its disk and limits stay from start to end, every
 * program gets a bubblewrap of its own over them.
 */
import type { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { DevmeshError } from "@devmesh/mesh/errors";
import type { Cgroup } from "../cgroup.ts";
import type { ExecSpec, Sandbox, SandboxProcess, SandboxSpec } from "../driver.ts";
import { checkExec, doorPath, sandboxFailed, sandboxVariables } from "../driver-errors.ts";
import { descendants, startTicks } from "../process-tree.ts";
import { packCommand, readArchive, unpackCommand, unpackFailure } from "../sandbox-tar.ts";
import { guardTar } from "../tar-guard.ts";
import { within } from "../within.ts";
import type { WorkDisk } from "../work-disk.ts";
import type { BwrapProcess } from "./bwrap-process.ts";
import { innerUser, type ProcessHost } from "./host.ts";
import { launch } from "./launch.ts";
import { LimitWatch } from "./limit-watch.ts";
import type { PipeStore } from "./pipe-store.ts";

const deleteTimeoutMs = 10_000;

/** What a process sandbox is made of; all of it exists. */
export interface ProcessSandboxOptions {
  readonly spec: SandboxSpec;
  readonly host: ProcessHost;
  /** bubblewrap's arguments for the sandbox's system folders. */
  readonly system: readonly string[];
  readonly disk: WorkDisk;
  readonly pipes: PipeStore;
  /** Absent: limits by rlimits and a watch. */
  readonly cgroup: Cgroup | undefined;
  /** The host's user that its programs run as; absent: this process's. */
  readonly user: number | undefined;
  /** Where the mounts and the socket can be reached for that user, by their path in the sandbox. */
  readonly binds: ReadonlyMap<string, string>;
  /** Removes all that the sandbox is made of, once nothing runs in it. */
  readonly remove: () => Promise<void>;
}

/** A sandbox of bubblewrap. */
export class ProcessSandbox implements Sandbox {
  readonly id: string;
  readonly jobId: string;
  readonly driver = "process";
  readonly createdAtMs = Date.now();
  readonly #options: ProcessSandboxOptions;
  readonly #running = new Set<BwrapProcess>();
  /** Packing for `get`: it writes nothing, and must work when the disk is over its limit. */
  readonly #packing = new Set<BwrapProcess>();
  readonly #starting = new Set<Promise<unknown>>();
  /** The first process of each program that was started, and when it began. */
  readonly #inits = new Map<number, string>();
  readonly #ending = new AbortController();
  readonly #watch: LimitWatch | undefined;
  #deletion: Promise<void> | undefined;

  constructor(options: ProcessSandboxOptions) {
    this.id = options.spec.id;
    this.jobId = options.spec.jobId;
    this.#options = options;
    const { cgroup, host, disk, spec } = options;
    if (cgroup === undefined || host.disk === "folder") {
      this.#watch = new LimitWatch({
        limits: spec.limits,
        folders: host.disk === "folder" ? [disk.work, disk.tmp] : [],
        watchMemory: cgroup === undefined,
        running: () => new Set([...this.#running].filter((program) => !this.#packing.has(program))),
      });
    }
  }

  async put(tar: Readable, signal?: AbortSignal): Promise<void> {
    const maxBytes = this.#options.spec.limits.diskMib * 1024 * 1024;
    const program = await this.#start({ argv: unpackCommand, env: {} }, true, signal);
    if (program.stdin === null) throw sandboxFailed("process", "the sandbox takes no input");
    const kill = () => program.signal("SIGKILL");
    const errors = readErrors(program);
    try {
      await pipeline(guardTar(tar, { maxBytes }, signal), program.stdin, {
        ...(signal && { signal }),
      });
    } catch (error: unknown) {
      // tar may have ended first: what it said tells more than a broken pipe.
      if (!isBrokenPipe(error)) {
        await kill();
        await program.exit;
        if (signal?.aborted)
          throw new DevmeshError("CANCELLED", "the upload was cancelled", { cause: error });
        throw error;
      }
    }
    const text = await errors;
    const { exitCode } = await program.exit;
    if (exitCode !== 0) throw unpackFailure("process", exitCode, text);
  }

  async exec(spec: ExecSpec, signal?: AbortSignal): Promise<SandboxProcess> {
    const { input } = spec;
    const program = await this.#start(spec, input !== undefined, signal);
    // A program that does not read its input, or not all, has ended by then or does without.
    program.stdin?.on("error", () => {});
    program.stdin?.end(input);
    return program;
  }

  async get(signal?: AbortSignal): Promise<Readable> {
    const program = await this.#start({ argv: packCommand, env: {} }, false, signal);
    this.#packing.add(program);
    const ended = () => this.#packing.delete(program);
    program.exit.then(ended, ended);
    return readArchive("process", program, signal);
  }

  delete(): Promise<void> {
    this.#deletion ??= within(deleteTimeoutMs, this.#delete()).catch((error: unknown) => {
      // Kept in the driver's list: it can be tried again.
      this.#deletion = undefined;
      throw sandboxFailed("process", `${this.id} could not be removed`, error);
    });
    return this.#deletion;
  }

  async processes(): Promise<number> {
    const counts = [...this.#inits].map(async ([init, began]) => {
      const isAlive = began !== "" && (await startTicks(init)) === began;
      return isAlive ? 1 + (await descendants(init)).length : 0;
    });
    return (await Promise.all(counts)).reduce((sum, count) => sum + count, 0);
  }

  get receipt(): never {
    throw sandboxFailed("process", "receipts are not built");
  }

  stats(): never {
    throw sandboxFailed("process", "stats are not built");
  }

  freeze(): never {
    throw sandboxFailed("process", "freezing is not built");
  }

  resume(): never {
    throw sandboxFailed("process", "freezing is not built");
  }

  async #delete(): Promise<void> {
    this.#ending.abort();
    this.#watch?.stop();
    await Promise.allSettled([...this.#starting, this.#options.pipes.settled()]);
    const running = [...this.#running];
    await Promise.all(running.map((program) => program.signal("SIGKILL")));
    await Promise.all(running.map((program) => program.exit));
    await this.#options.remove();
  }

  #start(spec: ExecSpec, stdin: boolean, signal?: AbortSignal): Promise<BwrapProcess> {
    const start = this.#launch(spec, stdin, signal);
    this.#starting.add(start);
    const settled = () => this.#starting.delete(start);
    start.then(settled, settled);
    return start;
  }

  async #launch(spec: ExecSpec, stdin: boolean, signal?: AbortSignal): Promise<BwrapProcess> {
    if (this.#deletion) throw sandboxFailed("process", `${this.id} is deleted`);
    checkExec(spec);
    const { host, cgroup, user } = this.#options;
    if (signal?.aborted) throw new DevmeshError("CANCELLED", "the start was cancelled");
    const program = await launch({
      sandboxId: this.id,
      bwrap: host.bwrap,
      args: this.#arguments(spec.cwd ?? "/work"),
      wrappers: cgroup ? [] : (this.#watch?.wrappers() ?? []),
      argv: spec.argv,
      env: { ...sandboxVariables, ...spec.env },
      user,
      cgroup,
      seccomp: host.seccomp,
      pipes: await this.#options.pipes.take(),
      stdin,
      signal: AbortSignal.any([this.#ending.signal, ...(signal ? [signal] : [])]),
    });
    this.#running.add(program);
    this.#inits.set(program.init, await startTicks(program.init));
    const ended = () => this.#running.delete(program);
    program.exit.then(ended, ended);
    return program;
  }

  #arguments(cwd: string): string[] {
    const { system, disk, binds, spec } = this.#options;
    const shmBytes = (spec.limits.memoryMib * 1024 * 1024) / 2;
    const mounts = [...binds].flatMap(([inside, outside]) => ["--ro-bind", outside, inside]);
    return [
      ...["--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts"],
      ...["--unshare-cgroup", "--uid", `${innerUser}`, "--gid", `${innerUser}`],
      ...["--hostname", "devmesh", "--die-with-parent", "--new-session", "--clearenv"],
      ...["--cap-drop", "ALL"],
      ...system,
      ...["--proc", "/proc", "--dev", "/dev", "--size", `${shmBytes}`, "--tmpfs", "/dev/shm"],
      ...["--remount-ro", "/dev"],
      ...["--bind", disk.work, "/work", "--bind", disk.tmp, "/tmp"],
      ...(spec.doors.length > 0 ? ["--dir", "/run", "--dir", "/run/devmesh"] : []),
      ...mounts,
      ...["--remount-ro", "/", "--chdir", cwd],
    ];
  }
}

/** Where doors and mounts appear, in the order in which they are bound. */
export function bindTargets(spec: SandboxSpec): Map<string, string> {
  const targets = new Map(spec.mounts.map(({ sandboxPath, hostPath }) => [sandboxPath, hostPath]));
  for (const { name, socketPath } of spec.doors) targets.set(doorPath(name), socketPath);
  return targets;
}

async function readErrors(program: BwrapProcess): Promise<string> {
  let text = "";
  for await (const { data } of program.output()) if (text.length < 4096) text += data.toString();
  return text;
}

function isBrokenPipe(error: unknown): boolean {
  return (
    error instanceof Error &&
    "code" in error &&
    (error.code === "EPIPE" || error.code === "ECONNRESET")
  );
}
