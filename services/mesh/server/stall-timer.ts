/** Notices a reader that takes nothing of what it was sent. A producer with nothing to say is none. */

/** One timer for one answer; started by its first chunk. */
export class StallTimer {
  readonly #limitMs: number;
  readonly #onStall: () => void;
  #timer: NodeJS.Timeout | undefined;
  /** True from the time a chunk is handed out until the reader asks for the next. */
  #waits = false;

  /** `onStall` is called once the reader has taken nothing for `limitMs`. */
  constructor(limitMs: number, onStall: () => void) {
    this.#limitMs = limitMs;
    this.#onStall = onStall;
  }

  /** A chunk was handed to the reader. */
  sent(): void {
    this.#waits = true;
    if (this.#timer === undefined) {
      this.#timer = setTimeout(() => this.#waits && this.#onStall(), this.#limitMs).unref();
    } else this.#timer.refresh();
  }

  /** The reader took it. */
  taken(): void {
    this.#waits = false;
  }

  /** The answer is over. */
  end(): void {
    this.#waits = false;
    clearTimeout(this.#timer);
  }

  /** The same chunks, timed. */
  around<T>(chunks: AsyncIterator<T>): AsyncIterator<T> {
    return {
      next: () => {
        this.taken();
        return chunks.next().then((next) => {
          if (next.done === true) this.end();
          else this.sent();
          return next;
        });
      },
      return: async () => {
        this.end();
        await chunks.return?.();
        return { done: true, value: undefined };
      },
    };
  }
}
