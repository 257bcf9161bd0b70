/** A program that runs under bubblewrap. Starting it is left to `launch.ts`. */
import type { Writable } from "node:stream";
import type { ExitState, OutputChunk, SandboxProcess } from "../driver.ts";
import { descendants, residentBytes, signalProcess } from "../process-tree.ts";
import type { ProgramOutput } from "../program-output.ts";

/** What `launch` knows of a program. */
export interface BwrapProcessOptions {
  /**
   * The first process of the sandbox's own pid namespace, as the host numbers
   * it. All of the program's processes descend from it and end with it.
   */
  readonly init: number;
  /** Resolves with the exit status when bubblewrap is gone. Never rejects. */
  readonly ended: Promise<number>;
  readonly output: ProgramOutput;
  /** Where the caller asked for one. */
  readonly stdin: Writable | null;
  /** Whether the memory cap has ended anything since the start. */
  readonly capKilled: () => Promise<boolean>;
}

/** One running program with all its children. */
export class BwrapProcess implements SandboxProcess {
  readonly exit: Promise<ExitState>;
  /** The program's input; null if it has none. */
  readonly stdin: Writable | null;
  readonly #options: BwrapProcessOptions;
  #ended = false;
  #overMemory = false;

  constructor(options: BwrapProcessOptions) {
    this.#options = options;
    this.stdin = options.stdin;
    this.exit = options.ended.then(async (exitCode) => {
      this.#ended = true;
      // Nothing is left that could write: what lies in the pipes is all.
      options.output.keepRest();
      const killed = this.#overMemory || (await options.capKilled());
      return { exitCode, outOfMemory: exitCode === 137 && killed };
    });
    // Whoever waits is told; a failure that nobody waits for must not end the host.
    this.exit.catch(() => {});
  }

  /** The first process of its pid namespace, as the host numbers it. */
  get init(): number {
    return this.#options.init;
  }

  /** True as soon as nothing of it runs any more. */
  get hasEnded(): boolean {
    return this.#ended;
  }

  output(): AsyncIterable<OutputChunk> {
    return this.#options.output.read();
  }

  async signal(name: "SIGTERM" | "SIGKILL" | "SIGINT"): Promise<void> {
    if (this.#ended) return;
    // The kernel ends all of a pid namespace with its first process, so that
    // nothing can fork away from a SIGKILL. Other signals that one ignores.
    if (name === "SIGKILL") {
      signalProcess(this.#options.init, name);
      return;
    }
    for (const pid of await descendants(this.#options.init)) {
      if (!this.#ended) signalProcess(pid, name);
    }
  }

  /** The memory of all its processes together, in bytes. */
  async memoryBytes(): Promise<number> {
    return this.#ended ? 0 : residentBytes(await descendants(this.#options.init));
  }

  /** Ends it for using more memory than it may. */
  async killForMemory(): Promise<void> {
    this.#overMemory = true;
    await this.signal("SIGKILL");
  }
}
