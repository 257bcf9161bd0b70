/** A clock that only moves when it is told to. */
import type { Clock } from "../../../web/src/ui/clock.ts";

/** Time for tests. */
export class FakeClock implements Clock {
  #nowMs = 0;
  #timers: { readonly atMs: number; readonly task: () => void }[] = [];

  now(): number {
    return this.#nowMs;
  }

  after(ms: number, task: () => void): () => void {
    const timer = { atMs: this.#nowMs + ms, task };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer);
    };
  }

  /** Runs what is due within `ms`, in order. */
  advance(ms: number): void {
    const end = this.#nowMs + ms;
    for (;;) {
      const [next] = this.#timers.toSorted((a, b) => a.atMs - b.atMs);
      if (next === undefined || next.atMs > end) break;
      this.#nowMs = next.atMs;
      this.#timers = this.#timers.filter((other) => other !== next);
      next.task();
    }
    this.#nowMs = end;
  }
}
