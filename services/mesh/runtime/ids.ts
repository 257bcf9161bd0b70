/** Identifiers as a collaborator: sortable random ones, and counted ones for tests. */
import { randomFillSync } from "node:crypto";
import type { Clock } from "./clock.ts";

/** Makes identifiers. */
export interface Ids {
  /** `<prefix>_` and 26 characters that sort by time of making (ULID, Crockford base 32). */
  next(prefix: string): string;
}

const alphabet = "0123456789abcdefghjkmnpqrstvwxyz";
const timeDigits = 10;
const randomDigits = 16;

/** ULID: 48 bits of milliseconds, 80 random bits; rising within one process. */
export class SortableIds implements Ids {
  readonly #clock: Clock;
  #lastMs = -1;
  #time = "";
  /** The random part's digits in base 32, the highest first. */
  readonly #digits = new Uint8Array(randomDigits);

  /** Random bytes, fetched for many ids at once; each is used once. */
  readonly #pool = new Uint8Array(randomDigits * 128);
  #used = this.#pool.length;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  next(prefix: string): string {
    const now = this.#clock.now();
    if (now > this.#lastMs) this.#start(now);
    else this.#countUp();
    let text = "";
    for (const digit of this.#digits) text += alphabet[digit];
    return `${prefix}_${this.#time}${text}`;
  }

  #start(ms: number): void {
    this.#lastMs = ms;
    this.#time = "";
    for (let rest = ms, i = 0; i < timeDigits; i++) {
      this.#time = `${alphabet[rest % 32]}${this.#time}`;
      rest = Math.floor(rest / 32);
    }
    if (this.#used === this.#pool.length) {
      randomFillSync(this.#pool);
      this.#used = 0;
    }
    for (let i = 0; i < randomDigits; i++) {
      this.#digits[i] = (this.#pool[this.#used++] ?? 0) & 31;
    }
    // The highest bit is kept free: counting up within a millisecond never runs over.
    this.#digits[0] = (this.#digits[0] ?? 0) & 15;
  }

  /** Within one millisecond, or when the clock went back: the next number. */
  #countUp(): void {
    for (let i = randomDigits - 1; i >= 0; i--) {
      const digit = ((this.#digits[i] ?? 0) + 1) & 31;
      this.#digits[i] = digit;
      if (digit !== 0) return;
    }
  }
}

/** `<prefix>_1`, `<prefix>_2`, …: for tests. */
export class CountedIds implements Ids {
  #count = 0;

  next(prefix: string): string {
    this.#count += 1;
    return `${prefix}_${this.#count}`;
  }
}
