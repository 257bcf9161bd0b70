/** Owns telling screen readers of new lines: summed up, at most once in two seconds. */
import type { Clock } from "./clock.ts";

const quietMs = 2_000;

/** Collects what is new and says it in one short sentence at a time. */
export class Announcer {
  readonly #clock: Clock;
  readonly #say: (sentence: string) => void;
  #lines = 0;
  #saidAt = Number.NEGATIVE_INFINITY;
  #stop: (() => void) | undefined;

  constructor(deps: { readonly clock: Clock; readonly say: (sentence: string) => void }) {
    this.#clock = deps.clock;
    this.#say = deps.say;
  }

  /** Tells of `lines` new lines, now or together with the next ones. */
  add(lines: number): void {
    this.#lines += lines;
    if (this.#lines === 0 || this.#stop !== undefined) return;
    const wait = Math.max(0, this.#saidAt + quietMs - this.#clock.now());
    this.#stop = this.#clock.after(wait, () => {
      this.#stop = undefined;
      this.#saidAt = this.#clock.now();
      this.#say(this.#lines === 1 ? "1 new line" : `${this.#lines} new lines`);
      this.#lines = 0;
    });
  }

  /** Says nothing more. */
  stop(): void {
    this.#stop?.();
  }
}
