/**
 * The port behind which code runs away from the host. Owns the contract; the
 * suite beside it holds every implementation to it.
 */
import type { Readable } from "node:stream";
import type { Isolation } from "./isolation.ts";
import type { SandboxReceipt } from "./receipt.ts";

export { type Isolation, isolations } from "./isolation.ts";

/** What a host can do with one driver, found by doing it. */
export interface DriverProbe {
  readonly driver: string;
  readonly isolation: Isolation;
  readonly available: boolean;
  /** The engine and its version, for example `bubblewrap 0.8.0`. Empty if unknown. */
  readonly engine: string;
  /** Why it is not available. Empty if it is. */
  readonly reason: string;
  /** What to do about it. Empty if it is available. */
  readonly remedy: string;
}

/** Bounds on what one sandbox may use; every one of them is enforced or the start fails. */
export interface SandboxLimits {
  readonly memoryMib: number;
  readonly cpuMillis: number;
  readonly pids: number;
  readonly diskMib: number;
}

/** A file or folder of the host that the sandbox may read, never write. */
export interface ReadOnlyMount {
  readonly hostPath: string;
  /** Absolute, below `/opt/devmesh/`. */
  readonly sandboxPath: string;
  /** True: it is this job's alone, so that nothing is kept ready for others with it. */
  readonly ofOneJob?: true;
}

/** What a sandbox shall be. */
export interface SandboxSpec {
  /** `sbx_…`; names everything the driver makes on the host. */
  readonly id: string;
  /** The job it belongs to, for labels. */
  readonly jobId: string;
  readonly limits: SandboxLimits;
  /** Tools that the work needs: the Node binary, the agent. Drivers that cannot mount copy them. */
  readonly mounts: readonly ReadOnlyMount[];
  /** The ways out of the sandbox, at most one for each name. None: no way out at all. */
  readonly doors: readonly SandboxDoor[];
}

/**
 * A way out: a Unix socket of the host that the sandbox finds as
 * `/run/devmesh/<name>.sock`. Nothing else of the network is in a sandbox but
 * an unconnected loopback.
 */
export interface SandboxDoor {
  /** `backend`: the public port of the backend. `egress`: the proxy that a network policy opens. */
  readonly name: "backend" | "egress";
  readonly socketPath: string;
  /**
   * A port of the sandbox's own 127.0.0.1 that leads to the same socket, for
   * programs that speak TCP only. Absent: the socket alone.
   */
  readonly port?: number;
}

/** What a sandbox uses now, read from the kernel. */
export interface SandboxStats {
  /** Processor time used so far, in milliseconds. */
  readonly cpuMs: number;
  /** For how long it has been held back by its share of the processor, in milliseconds. */
  readonly throttledMs: number;
  readonly memoryBytes: number;
  /** The most memory it has used at once. */
  readonly peakMemoryBytes: number;
  /** Processes and threads. */
  readonly pids: number;
  /** How many starts of a process its cap has refused. */
  readonly pidsRefused: number;
  /** Of the work dir and the scratch. */
  readonly diskBytes: number;
}

/** A program to run in a sandbox. */
export interface ExecSpec {
  /** Program and arguments; no shell in between. */
  readonly argv: readonly string[];
  /** Added to the sandbox's own few variables. The host's are never passed on. */
  readonly env: Readonly<Record<string, string>>;
  /** Absolute. Default: `/work`. */
  readonly cwd?: string;
  /** What its standard input holds, which ends after it. Default: nothing. At most 16 MiB. */
  readonly input?: Uint8Array;
}

/** A piece of output, in the order in which it was read. */
export interface OutputChunk {
  readonly stream: "stdout" | "stderr";
  readonly data: Buffer;
}

/** How a program ended. */
export interface ExitState {
  /** The exit status; 128 + n where signal n ended it. */
  readonly exitCode: number;
  /** True if the memory cap ended it. */
  readonly outOfMemory: boolean;
  /**
   * Other caps that it met while it ran: a start of a process was refused, the
   * disk was full when it ended. Absent: none.
   */
  readonly met?: readonly ("pids" | "disk")[];
}

/** A program that runs in a sandbox. */
export interface SandboxProcess {
  /**
   * All output until the program and everything it left behind have closed
   * their ends. Can be read once; unread output holds the program back.
   */
  output(): AsyncIterable<OutputChunk>;
  /** Resolves when the program has ended; also without anybody reading the output. */
  readonly exit: Promise<ExitState>;
  /** Sends a signal to the program and all its children. Nothing happens after the end. */
  signal(name: "SIGTERM" | "SIGKILL" | "SIGINT"): Promise<void>;
}

/**
 * A place to run code in. Its work dir is `/work`: writable, empty at first.
 * After `delete` every call throws SANDBOX_FAILED; output can still be read.
 */
export interface Sandbox {
  readonly id: string;
  readonly jobId: string;
  readonly driver: string;
  readonly createdAtMs: number;
  /** `removing`: its removal was asked for, by whomever, and may have failed. Absent: not known. */
  readonly state?: "running" | "frozen" | "removing";
  /**
   * Unpacks a tar stream (plain or gzip) into the work dir. Throws
   * WORKSPACE_INVALID for entries that escape it (absolute, `..`, links to
   * outside, devices) and for more than the disk limit.
   */
  put(tar: Readable, signal?: AbortSignal): Promise<void>;
  /**
   * Starts a program. Throws COMMAND_NOT_FOUND if it or its folder is not there
   * or cannot be executed, INVALID_FIELD for a spec that no system can run
   * (nothing in `argv`, a NUL, a relative `cwd`). The signal bounds the start
   * only. What a program leaves behind may be ended with it.
   */
  exec(spec: ExecSpec, signal?: AbortSignal): Promise<SandboxProcess>;
  /** The work dir as a plain tar stream with relative paths; `.git` and all. */
  get(signal?: AbortSignal): Promise<Readable>;
  /**
   * Ends every program that runs in it at once, whatever it left behind: nothing
   * of the job runs when it resolves, and new programs may be started. Calls that
   * are under way (`put`, `get`) are ended too. Throws SANDBOX_FAILED if something
   * does not end, or a frozen sandbox does not go on, within 8 s.
   */
  endPrograms(): Promise<void>;
  /** Removes it with all that runs in it, from every state. Idempotent; ≤ 10 s. */
  delete(): Promise<void>;
  /**
   * How many processes run in it now, looked up where they run; 0 once it is
   * deleted. Never throws. Absent: the driver cannot tell.
   */
  processes?(): Promise<number>;
  /**
   * What the kernel really enforces, read back when the sandbox was made: a
   * sandbox whose receipt differs from its spec is never handed out.
   */
  readonly receipt: SandboxReceipt;
  /** What it uses now. */
  stats(): Promise<SandboxStats>;
  /** Stops everything in it where it stands; calls that need a program wait. Idempotent. */
  freeze(): Promise<void>;
  /** Lets it go on. Idempotent. */
  resume(): Promise<void>;
}

/** Makes sandboxes of one kind. */
export interface SandboxDriver {
  /** `process`, `docker`, `gvisor`, `qemu`, `firecracker`, `fake`. */
  readonly name: string;
  readonly isolation: Isolation;
  /** Tries it out, for at most some seconds. Never throws: a failure is an answer. */
  probe(signal?: AbortSignal): Promise<DriverProbe>;
  /** Makes a sandbox. Throws SANDBOX_FAILED; leaves nothing behind when it does. */
  create(spec: SandboxSpec, signal?: AbortSignal): Promise<Sandbox>;
  /** The sandboxes that this process made and has not deleted, oldest first. */
  list(): Sandbox[];
  /** Removes what earlier processes with the same state folder left behind; answers their ids. */
  reap(): Promise<string[]>;
  /** Lets go of what it keeps ready for later sandboxes. Absent: it keeps nothing. */
  close?(): Promise<void>;
}
