/**
 * What a sandbox's kernel really enforces. Owns the form; reading the values is
 * left to the drivers, for each knows where its kernel shows them.
 */
import type { Isolation } from "./isolation.ts";

/** A value with the file or call that the kernel showed it in. */
export interface Measured<T> {
  readonly value: T;
  /** For example `/sys/fs/cgroup/memory/devmesh/sbx_…/memory.limit_in_bytes`. */
  readonly source: string;
}

/** A mount as the sandbox's first process sees it. */
export interface ReceiptMount {
  readonly path: string;
  readonly type: string;
  /** The mount's own options, for example `ro,nosuid,nodev`. */
  readonly options: string;
}

/** What one sandbox is held to. Every value is read back; none is copied from the request. */
export interface SandboxReceipt {
  readonly driver: string;
  readonly isolation: Isolation;
  /** The engine, its version and what runs the instructions, for example `QEMU 7.2.22 (TCG)`. */
  readonly engine: string;
  readonly memoryBytes: Measured<number>;
  /** Memory and swap together where the kernel bounds swap; absent where it has no swap. */
  readonly memoryAndSwapBytes?: Measured<number>;
  readonly cpuMillis: Measured<number>;
  readonly pids: Measured<number>;
  /** The size of the work dir's file system, less than the limit by its own tables. */
  readonly diskBytes: Measured<number>;
  readonly uid: Measured<number>;
  readonly gid: Measured<number>;
  readonly noNewPrivileges: Measured<boolean>;
  /** True if a seccomp filter holds (`Seccomp: 2`). */
  readonly seccomp: Measured<boolean>;
  /** The effective, permitted and bounding sets of capabilities as the kernel's hex words. */
  readonly capabilities: Measured<{
    readonly effective: string;
    readonly permitted: string;
    readonly bounding: string;
  }>;
  /** The kinds of namespaces that are not the host's, sorted: `ipc`, `mnt`, `net`, `pid`, … */
  readonly namespaces: Measured<readonly string[]>;
  /** Names of network interfaces; `lo` alone means no network. */
  readonly interfaces: Measured<readonly string[]>;
  readonly mounts: Measured<readonly ReceiptMount[]>;
  /** True if nothing can be written to the root file system for good. */
  readonly readOnlyRoot: Measured<boolean>;
}
