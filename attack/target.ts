/** What is attacked: sandboxes of one kind, however they are made. */
import type { Readable } from "node:stream";
import type { WayOut } from "./way-out.ts";

/** The caps that every attacked sandbox is given, small so that passing them is quick. */
export const attackLimits = { memoryMib: 192, cpuMillis: 1000, pids: 64, diskMib: 64 } as const;

/** Caps in the drivers' units. */
export type AttackLimits = Readonly<Record<keyof typeof attackLimits, number>>;

/** How a program of an attempt ended. */
export interface ProgramEnd {
  readonly output: string;
  /** 128 + n where signal n ended it; 124 where it took too long and was killed. */
  readonly exitCode: number;
}

/** One sandbox. */
export interface Room {
  readonly limits: AttackLimits;
  /** True: a kernel in user space answers its calls, and makes its devices. Default: false. */
  readonly isSimulated?: boolean;
  /** How many times longer programs may take than on the host's own kernel. Default: 1. */
  readonly patience?: number;
  /** Runs a Perl program behind the prelude; killed after `timeoutMs`. */
  perl(
    program: string,
    env: Readonly<Record<string, string>>,
    timeoutMs: number,
  ): Promise<ProgramEnd>;
  /** Unpacks a tar stream into its work dir. */
  put(tar: Readable): Promise<void>;
  /** Its work dir as a tar stream. */
  get(): Promise<Readable>;
  close(): Promise<void>;
}

/** Sandboxes of one kind. */
export interface Target {
  /** The driver's name, or a fixture's. */
  readonly name: string;
  readonly isolation: string;
  readonly engine: string;
  /** With a way, its network policy holds for the sandbox. Without: it has no network at all. */
  open(way?: WayOut): Promise<Room>;
}
