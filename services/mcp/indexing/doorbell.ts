/** Lets one loop rest until it is rung for or its time is up, and others wait until it rests. */
import type { Clock } from "@devmesh/mesh/runtime";

/** Why a rest ended. */
export type RestEnd = "rung" | "time";

/** A ring that comes while nobody rests ends the next rest at once. */
export class Doorbell {
  readonly #clock: Clock;
  #rung = false;
  #isResting = false;
  #wake: (() => void) | undefined;
  #observers: (() => void)[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Ends the rest, or the next one. */
  ring(): void {
    this.#rung = true;
    this.#isResting = false;
    this.#wake?.();
  }

  /** Resolves when the loop rests without having been rung for, or has ended. */
  resting(): Promise<void> {
    if (this.#isResting) return Promise.resolve();
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#observers.push(resolve);
    return promise;
  }

  /** Rests for `ms`, until a ring, or until the signal aborts. */
  async rest(ms: number, signal: AbortSignal): Promise<RestEnd> {
    if (this.#rung || signal.aborted) {
      this.#rung = false;
      return "rung";
    }
    const awake = new AbortController();
    const rung = new Promise<RestEnd>((resolve) => {
      this.#wake = () => resolve("rung");
    });
    const time = this.#clock
      .sleep(ms, AbortSignal.any([signal, awake.signal]))
      .then((): RestEnd => "time")
      .catch((): RestEnd => "rung");
    this.end();
    this.#isResting = true;
    try {
      return await Promise.race([rung, time]);
    } finally {
      awake.abort();
      this.#wake = undefined;
      this.#isResting = false;
      this.#rung = false;
    }
  }

  /** Tells those who wait for the rest: the loop is at rest, or at its end. */
  end(): void {
    const observers = this.#observers;
    this.#observers = [];
    for (const observe of observers) observe();
  }
}
