/**
 * An in-memory driver for tests of what stands above the port. Its programs are
 * functions; it isolates nothing and says so by having nothing to isolate.
 */
import { constants } from "node:os";
import { posix } from "node:path";
import { PassThrough, type Readable } from "node:stream";
import { DevmeshError } from "@devmesh/mesh/errors";
import type {
  DriverProbe,
  ExecSpec,
  ExitState,
  OutputChunk,
  Sandbox,
  SandboxDriver,
  SandboxProcess,
  SandboxSpec,
  SandboxStats,
} from "./driver.ts";
import { checkExec, commandNotFound, sandboxFailed, sandboxVariables } from "./driver-errors.ts";
import { FakeFiles } from "./fake-files.ts";
import { ProgramOutput } from "./program-output.ts";
import type { SandboxReceipt } from "./receipt.ts";
import { checkSpec } from "./spec-check.ts";
import { guardedEntries } from "./tar-guard.ts";

type SignalName = "SIGTERM" | "SIGKILL" | "SIGINT";

/** What a fake program has to work with. */
export interface FakeContext {
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  readonly files: FakeFiles;
  /** What its standard input holds. */
  readonly input: Uint8Array;
  /** Aborted when the program is killed; it should return then. */
  readonly killed: AbortSignal;
  /** Writes output; waits while what was written before is unread. Throws when killed. */
  write(stream: OutputChunk["stream"], data: string | Uint8Array): Promise<void>;
  /** Starts a child that shares the output. Throws `EAGAIN` above the pids limit. */
  fork(child: FakeProgram): void;
  /** Takes SIGTERM and SIGINT instead of dying of them. */
  onSignal(handler: (name: SignalName) => void): void;
  /** Uses memory; above the limit the program is killed. */
  allocate(mib: number): void;
  /** Ends this program by a signal. */
  raise(name: SignalName): void;
}

/** A program: answers its exit code. */
export type FakeProgram = (context: FakeContext) => Promise<number>;

/** What a fake driver is made of. */
export interface FakeDriverOptions {
  /**
   * Programs by name. A name alone runs as if it lay on the PATH; a path runs
   * the program of its last part if such a file lies there and is executable.
   */
  readonly programs: Readonly<Record<string, FakeProgram>>;
  /** Default: the system's clock. */
  readonly nowMs?: () => number;
}

/** Sandboxes in memory. Knows no host and no other process, so it never leaves anything behind. */
export class FakeDriver implements SandboxDriver {
  readonly name = "fake";
  readonly isolation = "process";
  readonly #options: FakeDriverOptions;
  readonly #sandboxes = new Set<FakeSandbox>();

  constructor(options: FakeDriverOptions) {
    this.#options = options;
  }

  async probe(): Promise<DriverProbe> {
    return {
      driver: this.name,
      isolation: this.isolation,
      available: true,
      engine: "in memory",
      reason: "",
      remedy: "",
    };
  }

  async create(spec: SandboxSpec, signal?: AbortSignal): Promise<Sandbox> {
    if (signal?.aborted) throw new DevmeshError("CANCELLED", "the start was cancelled");
    checkSpec(spec);
    const sandbox = new FakeSandbox(spec, this.#options, () => this.#sandboxes.delete(sandbox));
    this.#sandboxes.add(sandbox);
    return sandbox;
  }

  list(): Sandbox[] {
    return [...this.#sandboxes];
  }

  async reap(): Promise<string[]> {
    return [];
  }
}

class FakeSandbox implements Sandbox {
  readonly id: string;
  readonly jobId: string;
  readonly driver = "fake";
  readonly createdAtMs: number;
  readonly #spec: SandboxSpec;
  readonly #options: FakeDriverOptions;
  readonly #files: FakeFiles;
  readonly #processes = new Set<FakeProcess>();
  readonly #onDelete: () => void;
  readonly #receipt: SandboxReceipt;
  #deleted = false;
  /** There while it is frozen; resolves when it goes on or is deleted. */
  #thaw: PromiseWithResolvers<void> | undefined;

  constructor(spec: SandboxSpec, options: FakeDriverOptions, onDelete: () => void) {
    this.id = spec.id;
    this.jobId = spec.jobId;
    this.createdAtMs = (options.nowMs ?? Date.now)();
    this.#spec = spec;
    this.#options = options;
    this.#files = new FakeFiles(spec.limits.diskMib * 1024 * 1024);
    this.#onDelete = onDelete;
    this.#receipt = receiptOf(spec, this.driver);
  }

  async put(tar: Readable, signal?: AbortSignal): Promise<void> {
    this.#check(signal);
    const maxBytes = this.#spec.limits.diskMib * 1024 * 1024;
    for await (const guarded of guardedEntries(tar, { maxBytes }, signal)) {
      await this.#files.add(guarded);
    }
  }

  async exec(spec: ExecSpec, signal?: AbortSignal): Promise<SandboxProcess> {
    this.#check(signal);
    checkExec(spec);
    const command = spec.argv[0] ?? "";
    const cwd = spec.cwd ?? "/work";
    if (!this.#files.isDirectory(cwd)) throw commandNotFound(command, `there is no folder ${cwd}`);
    if (command.includes("/")) {
      const mode = this.#files.mode(posix.resolve(cwd, command));
      if (mode === undefined) throw commandNotFound(command, "there is no such file");
      if ((mode & 0o100) === 0) throw commandNotFound(command, "it is not executable");
    }
    const program = this.#options.programs[posix.basename(command)];
    if (program === undefined) throw commandNotFound(command, "there is no such program");
    const process = new FakeProcess({
      program,
      files: this.#files,
      spec: this.#spec,
      exec: { ...spec, cwd },
      thawed: () => this.#thaw?.promise,
    });
    this.#processes.add(process);
    process.gone.then(() => this.#processes.delete(process));
    return process;
  }

  async get(signal?: AbortSignal): Promise<Readable> {
    this.#check(signal);
    return this.#files.archive();
  }

  async endPrograms(): Promise<void> {
    this.#check();
    await this.#killAll();
  }

  async delete(): Promise<void> {
    this.#deleted = true;
    this.#thaw?.resolve();
    await this.#killAll();
    this.#onDelete();
  }

  get receipt(): SandboxReceipt {
    return this.#receipt;
  }

  async stats(): Promise<SandboxStats> {
    this.#check();
    const memoryMib = [...this.#processes].reduce((sum, process) => sum + process.memoryMib, 0);
    return {
      cpuMs: 0,
      throttledMs: 0,
      memoryBytes: memoryMib * 1024 * 1024,
      peakMemoryBytes: memoryMib * 1024 * 1024,
      pids: await this.processes(),
      pidsRefused: 0,
      diskBytes: this.#files.bytes,
    };
  }

  async freeze(): Promise<void> {
    this.#check();
    this.#thaw ??= Promise.withResolvers<void>();
  }

  async resume(): Promise<void> {
    this.#check();
    this.#thaw?.resolve();
    this.#thaw = undefined;
  }

  async processes(): Promise<number> {
    return [...this.#processes].reduce((sum, process) => sum + process.count, 0);
  }

  async #killAll(): Promise<void> {
    const running = [...this.#processes];
    for (const process of running) await process.signal("SIGKILL");
    await Promise.all(running.map((process) => process.gone));
  }

  #check(signal?: AbortSignal): void {
    if (signal?.aborted) throw new DevmeshError("CANCELLED", "the call was cancelled");
    if (this.#deleted) throw sandboxFailed("fake", `${this.id} is deleted`);
  }
}

interface FakeProcessOptions {
  readonly program: FakeProgram;
  readonly files: FakeFiles;
  readonly spec: SandboxSpec;
  readonly exec: ExecSpec;
  /** Absent while nothing is frozen. */
  readonly thawed: () => Promise<void> | undefined;
}

class FakeProcess implements SandboxProcess {
  readonly exit: Promise<ExitState>;
  /** Resolves when no program of it runs any more. */
  readonly gone: Promise<void>;
  readonly #output: ProgramOutput;
  readonly #streams = { stdout: new PassThrough(), stderr: new PassThrough() };
  readonly #killed = new AbortController();
  readonly #limits: SandboxSpec["limits"];
  readonly #running = new Set<{ handler?: (name: SignalName) => void; end(code: number): void }>();
  readonly #thawed: () => Promise<void> | undefined;
  #memoryMib = 0;
  #outOfMemory = false;
  readonly #met = new Set<"pids" | "disk">();

  constructor({ program, files, spec, exec, thawed }: FakeProcessOptions) {
    this.#thawed = thawed;
    this.#output = new ProgramOutput(this.#streams.stdout, this.#streams.stderr);
    this.#limits = spec.limits;
    const gone = Promise.withResolvers<void>();
    this.gone = gone.promise;
    const start = (body: FakeProgram): Promise<number> => {
      const { promise, resolve: end } = Promise.withResolvers<number>();
      const entry: { handler?: (name: SignalName) => void; end(code: number): void } = { end };
      this.#running.add(entry);
      const context: FakeContext = {
        argv: exec.argv,
        env: { ...sandboxVariables, ...exec.env },
        cwd: exec.cwd ?? "/work",
        files,
        input: exec.input ?? new Uint8Array(),
        killed: this.#killed.signal,
        write: (stream, data) => this.#write(stream, data),
        fork: (child) => {
          if (this.#running.size >= this.#limits.pids) {
            this.#met.add("pids");
            throw Object.assign(new Error("no more processes"), { code: "EAGAIN" });
          }
          void start(child);
        },
        onSignal: (handler) => {
          entry.handler = handler;
        },
        allocate: (mib) => {
          this.#memoryMib += mib;
          if (this.#memoryMib <= this.#limits.memoryMib) return;
          this.#outOfMemory = true;
          this.#kill();
        },
        raise: (name) => end(128 + constants.signals[name]),
      };
      // A program that throws has crashed: like any crash, that is an exit code.
      Promise.resolve(context)
        .then(body)
        .then(end, () => end(1));
      return promise.finally(() => {
        this.#running.delete(entry);
        if (this.#running.size > 0) return;
        this.#streams.stdout.end();
        this.#streams.stderr.end();
        gone.resolve();
      });
    };
    this.exit = start(program).then((exitCode) => {
      if (exitCode !== 0 && files.isFull) this.#met.add("disk");
      const met = [...this.#met];
      return { exitCode, outOfMemory: this.#outOfMemory, ...(met.length > 0 && { met }) };
    });
  }

  /** What its programs have allocated. */
  get memoryMib(): number {
    return this.#running.size === 0 ? 0 : this.#memoryMib;
  }

  /** How many programs of it run. */
  get count(): number {
    return this.#running.size;
  }

  output(): AsyncIterable<OutputChunk> {
    return this.#output.read();
  }

  async signal(name: SignalName): Promise<void> {
    if (name === "SIGKILL") return this.#kill();
    for (const { handler, end } of [...this.#running]) {
      if (handler) handler(name);
      else end(128 + constants.signals[name]);
    }
  }

  #kill(): void {
    this.#killed.abort();
    for (const { end } of [...this.#running]) end(128 + constants.signals.SIGKILL);
  }

  async #write(stream: OutputChunk["stream"], data: string | Uint8Array): Promise<void> {
    await this.#thawed();
    this.#killed.signal.throwIfAborted();
    const target = this.#streams[stream];
    const copy = typeof data === "string" ? data : Buffer.from(data);
    return new Promise((resolve, reject) => {
      const stop = () => reject(new Error("killed"));
      this.#killed.signal.addEventListener("abort", stop, { once: true });
      target.write(copy, (error) => {
        this.#killed.signal.removeEventListener("abort", stop);
        if (error) reject(error);
        else resolve();
      });
    });
  }
}

/** A fake has no kernel: its receipt says what its own code holds to. */
function receiptOf({ limits }: SandboxSpec, driver: string): SandboxReceipt {
  const measured = <T>(value: T) => ({ value, source: "in memory" });
  const mib = 1024 * 1024;
  return {
    driver,
    isolation: "process",
    engine: "in memory",
    memoryBytes: measured(limits.memoryMib * mib),
    cpuMillis: measured(limits.cpuMillis),
    pids: measured(limits.pids),
    diskBytes: measured(limits.diskMib * mib),
    uid: measured(1000),
    gid: measured(1000),
    noNewPrivileges: measured(true),
    seccomp: measured(true),
    capabilities: measured({ effective: "0", permitted: "0", bounding: "0" }),
    namespaces: measured([]),
    interfaces: measured([]),
    mounts: measured([]),
    readOnlyRoot: measured(true),
  };
}
