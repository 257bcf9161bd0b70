/** One Seatbelt sandbox: every program gets a profile of its own over the same folders. */
import { type ChildProcess, spawn } from "node:child_process";
import { access, constants as fs, stat } from "node:fs/promises";
import { constants as os } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { DevmeshError } from "@devmesh/mesh/errors";
import type {
  ExecSpec,
  ExitState,
  OutputChunk,
  Sandbox,
  SandboxProcess,
  SandboxSpec,
  SandboxStats,
} from "../driver.ts";
import { checkExec, commandNotFound, sandboxFailed, sandboxVariables } from "../driver-errors.ts";
import { signalProcess } from "../process-tree.ts";
import { ProgramOutput } from "../program-output.ts";
import type { SandboxReceipt } from "../receipt.ts";
import { workspaceInvalid } from "../tar-format.ts";
import { guardTar } from "../tar-guard.ts";
import { quoted } from "./sandbox-runtime.ts";
import { familyVariable, type SeatbeltFamily } from "./seatbelt-family.ts";
import type { SeatbeltPaths } from "./seatbelt-paths.ts";
import type { SeatbeltWatch } from "./seatbelt-watch.ts";

/** What a Seatbelt sandbox is made of. */
export interface SeatbeltSandboxOptions {
  readonly spec: SandboxSpec;
  readonly receipt: SandboxReceipt;
  readonly paths: SeatbeltPaths;
  readonly family: SeatbeltFamily;
  readonly watch: SeatbeltWatch;
  /** The arguments that run a line of shell inside. */
  readonly wrap: (line: string, signal?: AbortSignal) => Promise<readonly string[]>;
  /** Removes its folders and doors, once nothing runs in it. */
  readonly remove: () => Promise<void>;
}

/** A sandbox of the system's own profiles. */
export class SeatbeltSandbox implements Sandbox {
  readonly id: string;
  readonly jobId: string;
  readonly driver = "process";
  readonly createdAtMs = Date.now();
  readonly receipt: SandboxReceipt;
  readonly #options: SeatbeltSandboxOptions;
  #deletion: Promise<void> | undefined;
  #frozen: PromiseWithResolvers<void> | undefined;

  constructor(options: SeatbeltSandboxOptions) {
    this.id = options.spec.id;
    this.jobId = options.spec.jobId;
    this.receipt = options.receipt;
    this.#options = options;
  }

  async put(tar: Readable, signal?: AbortSignal): Promise<void> {
    const maxBytes = this.#options.spec.limits.diskMib * 1024 * 1024;
    const program = await this.#start({ argv: ["tar", "-x", "-p", "-f", "-"], env: {} }, signal);
    const words = lastWords(program);
    try {
      const source = guardTar(tar, { maxBytes }, signal);
      if (program.stdin) await pipeline(source, program.stdin, { ...(signal && { signal }) });
    } catch (error: unknown) {
      // tar may have ended first: what it said tells more than a broken pipe.
      if (!(error instanceof Error && "code" in error && error.code === "EPIPE")) {
        await program.signal("SIGKILL");
        throw signal?.aborted
          ? new DevmeshError("CANCELLED", "the upload was cancelled", { cause: error })
          : error;
      }
    }
    const { exitCode } = await program.exit;
    if (exitCode !== 0) {
      throw workspaceInvalid(`the archive cannot be unpacked: ${await words}`, "");
    }
  }

  async exec(spec: ExecSpec, signal?: AbortSignal): Promise<SandboxProcess> {
    const program = await this.#start(spec, signal);
    // A program that does not want its input ends all the same.
    program.stdin?.on("error", () => {}).end(spec.input ?? "");
    return program;
  }

  async get(signal?: AbortSignal): Promise<Readable> {
    const program = await this.#start({ argv: ["tar", "-c", "-f", "-", "."], env: {} }, signal);
    program.stdin?.end();
    return Readable.from(packed(program, signal), { objectMode: false });
  }

  async endPrograms(): Promise<void> {
    this.#check();
    try {
      await this.#options.family.end();
    } catch (error: unknown) {
      throw sandboxFailed("process", `the programs of ${this.id} could not be ended`, error);
    }
  }

  delete(): Promise<void> {
    this.#deletion ??= this.#delete().catch((error: unknown) => {
      // Still in the driver's list: it can be tried again.
      this.#deletion = undefined;
      throw sandboxFailed("process", `${this.id} could not be removed`, error);
    });
    return this.#deletion;
  }

  async processes(): Promise<number> {
    return this.#deletion ? 0 : (await this.#options.family.pids()).length;
  }

  async stats(): Promise<SandboxStats> {
    this.#check();
    const { family, watch } = this.#options;
    const [{ pids, memoryBytes, cpuMs }, diskBytes] = await Promise.all([
      family.use(),
      watch.diskBytes(),
    ]);
    const peakMemoryBytes = Math.max(watch.peakBytes, memoryBytes);
    return { cpuMs, throttledMs: 0, memoryBytes, peakMemoryBytes, pids, pidsRefused: 0, diskBytes };
  }

  async freeze(): Promise<void> {
    this.#check();
    this.#frozen ??= Promise.withResolvers<void>();
    await this.#options.family.freeze();
  }

  async resume(): Promise<void> {
    this.#check();
    this.#options.family.resume();
    this.#frozen?.resolve();
    this.#frozen = undefined;
  }

  async #delete(): Promise<void> {
    const { watch, family, remove } = this.#options;
    watch.stop();
    this.#frozen?.resolve();
    await family.end();
    await remove();
  }

  #check(): void {
    if (this.#deletion) throw sandboxFailed("process", `${this.id} is deleted`);
  }

  async #start(spec: ExecSpec, signal?: AbortSignal): Promise<SeatbeltProcess> {
    this.#check();
    checkExec(spec);
    await this.#frozen?.promise;
    this.#check();
    if (signal?.aborted) throw new DevmeshError("CANCELLED", "the start was cancelled");
    const { paths, family, watch, wrap } = this.#options;
    const cwd = paths.real(spec.cwd ?? "/work");
    const env = Object.entries({ ...sandboxVariables, ...spec.env, [familyVariable]: this.id }).map(
      ([key, value]) => `${key}=${paths.realList(value)}`,
    );
    const argv = spec.argv.map((part) => paths.real(part));
    await findProgram(
      argv[0] ?? "",
      cwd,
      paths.realList(spec.env.PATH ?? sandboxVariables.PATH ?? ""),
    );
    // `env -i`: nothing of the host's, and nothing that the profile's own wrapper adds.
    const line = `cd ${quoted(cwd)} && exec env -i ${[...env, ...argv].map(quoted).join(" ")}`;
    const [file = "", ...args] = await wrap(line, signal);
    const child = spawn(file, args, { cwd, detached: true, env: { PATH: "/usr/bin:/bin" } });
    if (child.pid !== undefined) family.add(child.pid);
    const program = new SeatbeltProcess(child, family, watch);
    await program.started;
    return program;
  }
}

/** A program in a Seatbelt sandbox. */
class SeatbeltProcess implements SandboxProcess {
  readonly exit: Promise<ExitState>;
  /** Rejects with SANDBOX_FAILED if it could not be started. */
  readonly started: Promise<void>;
  readonly stdin: ChildProcess["stdin"];
  readonly #child: ChildProcess;
  readonly #family: SeatbeltFamily;
  readonly #output: ProgramOutput;

  constructor(child: ChildProcess, family: SeatbeltFamily, watch: SeatbeltWatch) {
    const { stdout, stderr } = child;
    if (!stdout || !stderr) throw sandboxFailed("process", "the program has no output");
    this.#child = child;
    this.#family = family;
    this.stdin = child.stdin;
    this.#output = new ProgramOutput(stdout, stderr);
    const before = { ...watch.met };
    const [start, exit] = [Promise.withResolvers<void>(), Promise.withResolvers<ExitState>()];
    child.once("spawn", start.resolve);
    child.once("error", (error) => {
      const failure = sandboxFailed("process", "the program could not be started", error);
      start.reject(failure);
      exit.reject(failure);
    });
    child.once("exit", (code, signal) => {
      const exitCode = code ?? 128 + os.signals[signal ?? "SIGKILL"];
      const met = (["pids", "disk"] as const).filter((cap) => watch.met[cap] > before[cap]);
      exit.resolve({
        exitCode,
        outOfMemory: exitCode === 137 && watch.met.memory > before.memory,
        ...(met.length > 0 && { met }),
      });
    });
    this.started = start.promise;
    this.exit = exit.promise;
    this.exit.catch(() => {});
  }

  output(): AsyncIterable<OutputChunk> {
    return this.#output.read();
  }

  async signal(name: "SIGTERM" | "SIGKILL" | "SIGINT"): Promise<void> {
    const { pid, exitCode, signalCode } = this.#child;
    if (pid === undefined || exitCode !== null || signalCode !== null) return;
    for (const each of await this.#family.programOf(pid)) signalProcess(each, name);
  }
}

/** Throws COMMAND_NOT_FOUND where the program or its folder is not there. */
async function findProgram(program: string, cwd: string, path: string): Promise<void> {
  const isFolder = await stat(cwd).then(
    (found) => found.isDirectory(),
    () => false,
  );
  if (!isFolder) throw commandNotFound(program, `its folder cannot be entered: ${cwd}`);
  const candidates = program.includes("/")
    ? [program.startsWith("/") ? program : join(cwd, program)]
    : path.split(":").map((folder) => join(folder, program));
  for (const candidate of candidates) {
    try {
      await access(candidate, fs.X_OK);
      if ((await stat(candidate)).isFile()) return;
    } catch {
      // Not there: the next folder, or none.
    }
  }
  throw commandNotFound(program, "No such file or directory");
}

/** The archive that a program writes; ends with an error where it failed. */
async function* packed(program: SeatbeltProcess, signal?: AbortSignal): AsyncGenerator<Buffer> {
  let words = "";
  const kill = () => void program.signal("SIGKILL");
  signal?.addEventListener("abort", kill, { once: true });
  try {
    for await (const { stream, data } of program.output()) {
      if (stream === "stdout") yield data;
      else words = (words + data.toString()).slice(-2_048);
    }
    const { exitCode } = await program.exit;
    if (signal?.aborted) throw new DevmeshError("CANCELLED", "the download was cancelled");
    // 1: files changed while they were read. The archive is whole all the same.
    if (exitCode > 1) throw sandboxFailed("process", `the work dir cannot be packed: ${words}`);
  } finally {
    signal?.removeEventListener("abort", kill);
    await program.signal("SIGKILL");
  }
}

/** Reads a program to its end and answers the last part of what it said. */
async function lastWords(program: SeatbeltProcess): Promise<string> {
  let words = "";
  try {
    for await (const { data } of program.output()) words = (words + data.toString()).slice(-2_048);
  } catch {
    // The program's exit tells of the same end.
  }
  return words.trim();
}
