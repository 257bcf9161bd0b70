/** Owns one program of a resident as the port shows it: output, end, signals, caps that it met. */
import { constants } from "node:os";
import { DevmeshError } from "@devmesh/mesh/errors";
import type { ExitState, OutputChunk, SandboxProcess } from "../driver.ts";
import { metFlag } from "./frames.ts";
import type { ResidentExit, ResidentStream } from "./stream.ts";

/** What a kernel has counted for one sandbox so far. */
export interface CapCounts {
  /** Processes that the memory cap has ended. */
  readonly oomKills: number;
  /** Starts of processes that the cap on them has refused. */
  readonly pidsRefused: number;
  /** How often a watch has ended programs for the disk limit. Absent: the disk itself says no. */
  readonly diskKills?: number;
}

/** What a program is made of. */
export interface ResidentProcessOptions {
  /** Has started. */
  readonly stream: ResidentStream;
  /** What was counted before it started. */
  readonly before: CapCounts;
  /** What is counted now. May fail once the sandbox is gone. */
  readonly counts: () => Promise<CapCounts>;
}

/** A program in a sandbox. */
export class ResidentProcess implements SandboxProcess {
  readonly exit: Promise<ExitState>;
  readonly #stream: ResidentStream;
  #taken = false;

  constructor(options: ResidentProcessOptions) {
    this.#stream = options.stream;
    this.exit = exitOf(options);
    // Whoever asks for it meets the failure; nobody may.
    this.exit.catch(() => {});
  }

  output(): AsyncIterable<OutputChunk> {
    if (this.#taken) throw new DevmeshError("WRONG_STATE", "the output is being read already");
    this.#taken = true;
    return this.#stream.chunks();
  }

  async signal(name: "SIGTERM" | "SIGKILL" | "SIGINT"): Promise<void> {
    this.#stream.signal(constants.signals[name]);
  }
}

async function exitOf({ stream, before, counts }: ResidentProcessOptions): Promise<ExitState> {
  const exit = await stream.exit;
  const after = await countsAtEnd(counts, before);
  const exitCode = exit.status;
  const has = (flag: number) => (exit.met & flag) !== 0;
  const memory = has(metFlag.memory) || after.oomKills > before.oomKills;
  const met = [
    ...(has(metFlag.pids) || after.pidsRefused > before.pidsRefused ? (["pids"] as const) : []),
    ...(has(metFlag.disk) || (after.diskKills ?? 0) > (before.diskKills ?? 0)
      ? (["disk"] as const)
      : []),
  ];
  return {
    exitCode,
    // A program that went on after a child of it was killed has not been ended by the cap.
    outOfMemory: memory && exitCode === signalled,
    ...(met.length > 0 && { met }),
  };
}

const signalled: ResidentExit["status"] = 128 + constants.signals.SIGKILL;

/** A sandbox that was deleted counts no more: then that, and no cap, ended its programs. */
async function countsAtEnd(
  counts: () => Promise<CapCounts>,
  before: CapCounts,
): Promise<CapCounts> {
  try {
    return await counts();
  } catch {
    // The sandbox is gone, which its other calls tell.
    return before;
  }
}
