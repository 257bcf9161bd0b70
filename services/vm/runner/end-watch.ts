/** Notices a program that has ended without its driver telling so. Ending programs is left to `pump.ts`. */
import { DevmeshError } from "@devmesh/mesh/errors";
import type { Clock } from "@devmesh/mesh/runtime";
import type { Sandbox } from "../drivers/driver.ts";

/** What is watched. */
export interface EndWatchOptions {
  readonly sandbox: Sandbox;
  /** Settles when the driver tells the program's end. */
  readonly exit: Promise<unknown>;
  readonly clock: Clock;
}

/** How long a driver has to tell the end of what cannot run any more, in milliseconds. */
export const endLimitMs = 10_000;

/** A process that stands still itself loses one of them, not the whole limit. */
const ticks = 10;

/** Watches one program until it is disposed of. */
export class EndWatch {
  /** Rejects with SANDBOX_FAILED when the end was not told in time; never resolves. */
  readonly lost: Promise<never>;
  readonly #options: EndWatchOptions;
  readonly #lost = Promise.withResolvers<never>();
  readonly #done = new AbortController();
  #isTold = false;
  #isKilled = false;
  #holding = 0;

  constructor(options: EndWatchOptions) {
    this.#options = options;
    this.lost = this.#lost.promise;
    // Met by whoever waits for the program; nobody may.
    this.lost.catch(() => {});
    const told = () => {
      this.#isTold = true;
    };
    options.exit.then(told, told);
  }

  /** Output is here; time in which it is held back does not count. */
  async hear(taken: Promise<void>): Promise<void> {
    this.#holding += 1;
    try {
      await taken;
    } finally {
      this.#holding -= 1;
    }
  }

  /** SIGKILL was sent: end and output are due. */
  killed(): void {
    if (this.#isKilled) return;
    this.#isKilled = true;
    this.#watch(async () => {
      await this.#limit();
      if (!this.#isTold) return "it was killed, and its end was not told";
      await this.#limit();
      return "it was killed, and its output did not end";
    });
  }

  /** The output has ended: where nothing runs in the sandbox any more, the end is due. */
  closed(): void {
    this.#watch(async () => {
      // Twice: a program may be on its way between two looks.
      for (let empty = 0; empty < 2; ) {
        await this.#limit();
        empty = (await this.#runs()) ? 0 : empty + 1;
      }
      return "nothing runs in the sandbox any more, and its end was not told";
    });
  }

  [Symbol.dispose](): void {
    this.#done.abort();
  }

  #watch(why: () => Promise<string>): void {
    why().then(
      (reason) => {
        const message = `the program is lost: ${reason} in time`;
        const { id, driver } = this.#options.sandbox;
        const metadata = { driver, sandbox: id };
        this.#lost.reject(new DevmeshError("SANDBOX_FAILED", message, { metadata }));
      },
      () => {
        // Its end was told: the sleep was ended.
      },
    );
  }

  /** A driver that cannot count, now or at all, leaves it to the job's own time limit. */
  async #runs(): Promise<boolean> {
    try {
      return (await this.#options.sandbox.processes?.()) !== 0;
    } catch {
      return true;
    }
  }

  async #limit(): Promise<void> {
    const { clock } = this.#options;
    for (let tick = 0; tick < ticks; ) {
      await clock.sleep(endLimitMs / ticks, this.#done.signal);
      if (this.#holding === 0) tick++;
    }
  }
}
