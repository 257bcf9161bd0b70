/** Keeps named pipes in stock for programs' output: making one costs a process. */
import { chownSync } from "node:fs";
import { join } from "node:path";
import { runTool } from "../run-tool.ts";

const pairsPerBatch = 4;

type Pair = readonly [stdout: string, stderr: string];

/** The named pipes of one sandbox, in its folder. */
export class PipeStore {
  readonly #folder: string;
  readonly #user: number | undefined;
  readonly #first: Pair[];
  #ready: Pair[] = [];
  #turn: Promise<unknown> = Promise.resolve();
  #batches = 0;

  /** `user` owns the pipes, so that programs can open them by name; absent: this process's. */
  constructor(folder: string, user: number | undefined) {
    this.#folder = folder;
    this.#user = user;
    this.#first = this.#nextBatch();
  }

  /** The pipes of the first batch, for whoever starts a process anyway and makes them with it. */
  get firstPaths(): string[] {
    return this.#first.flat();
  }

  /** Takes the first batch into stock, once it is made. */
  addFirst(): void {
    this.#add(this.#first);
  }

  /** Two pipes that nobody else gets. */
  take(): Promise<Pair> {
    const taken = this.#turn.then(() => this.#takeNow());
    this.#turn = taken.catch(() => {
      // The caller has it; the next one tries again.
    });
    return taken;
  }

  /** Resolves when nothing is being made any more. */
  async settled(): Promise<void> {
    await this.#turn;
  }

  async #takeNow(): Promise<Pair> {
    if (this.#ready.length === 0) {
      const pairs = this.#nextBatch();
      await runTool("mkfifo", ["--mode=600", ...pairs.flat()]);
      this.#add(pairs);
    }
    const pair = this.#ready.pop();
    if (pair === undefined) throw new Error("no pipes were made");
    return pair;
  }

  #nextBatch(): Pair[] {
    const batch = this.#batches++;
    return Array.from({ length: pairsPerBatch }, (_, at): Pair => {
      const name = join(this.#folder, `pipe-${batch}-${at}`);
      return [`${name}-out`, `${name}-err`];
    });
  }

  #add(pairs: readonly Pair[]): void {
    if (this.#user !== undefined) {
      for (const path of pairs.flat()) chownSync(path, this.#user, this.#user);
    }
    this.#ready.push(...pairs);
  }
}
