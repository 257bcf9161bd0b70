/** Keeps named pipes in stock for programs' output: making one costs a process. */
import { chownSync } from "node:fs";
import { join } from "node:path";
import { runTool } from "../run-tool.ts";

const pairsPerBatch = 4;

/** The named pipes of one sandbox, in its folder. Begins to make them at once. */
export class PipeStore {
  readonly #folder: string;
  readonly #user: number | undefined;
  #ready: [string, string][] = [];
  #ahead: Promise<[string, string][]>;
  #turn: Promise<unknown> = Promise.resolve();
  #batches = 0;

  /** `user` owns the pipes, so that programs can open them by name; absent: this process's. */
  constructor(folder: string, user: number | undefined) {
    this.#folder = folder;
    this.#user = user;
    this.#ahead = this.#make();
  }

  /** Two pipes that nobody else gets. */
  take(): Promise<readonly [string, string]> {
    const taken = this.#turn.then(() => this.#takeNow());
    this.#turn = taken.catch(() => {
      // The caller has it; the next one tries again.
    });
    return taken;
  }

  /** Resolves when nothing is being made any more. */
  async settled(): Promise<void> {
    await Promise.allSettled([this.#turn, this.#ahead]);
  }

  async #takeNow(): Promise<readonly [string, string]> {
    if (this.#ready.length === 0) {
      this.#ready = await this.#ahead;
      this.#ahead = this.#make();
    }
    const pair = this.#ready.pop();
    if (pair === undefined) throw new Error("no pipes were made");
    return pair;
  }

  #make(): Promise<[string, string][]> {
    const batch = this.#batches++;
    const pairs = Array.from({ length: pairsPerBatch }, (_, at): [string, string] => [
      join(this.#folder, `pipe-${batch}-${at}-out`),
      join(this.#folder, `pipe-${batch}-${at}-err`),
    ]);
    const made = (async () => {
      await runTool("mkfifo", ["--mode=600", ...pairs.flat()]);
      for (const path of pairs.flat()) {
        if (this.#user !== undefined) chownSync(path, this.#user, this.#user);
      }
      return pairs;
    })();
    // Whoever takes from it meets the failure; nobody may ever do so.
    made.catch(() => {});
    return made;
  }
}
