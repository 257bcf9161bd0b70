/** Identifiers as a collaborator: sortable random ones, and counted ones for tests. */
import { randomBytes } from "node:crypto";
import type { Clock } from "./clock.ts";

/** Makes identifiers. */
export interface Ids {
  /** `<prefix>_` and 26 characters that sort by time of making (ULID, Crockford base 32). */
  next(prefix: string): string;
}

const alphabet = "0123456789abcdefghjkmnpqrstvwxyz";

/** ULID: 48 bits of milliseconds, 80 random bits; rising within one process. */
export class SortableIds implements Ids {
  readonly #clock: Clock;
  #lastMs = 0;
  #lastRandom = 0n;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  next(prefix: string): string {
    const now = this.#clock.now();
    if (now > this.#lastMs) {
      this.#lastMs = now;
      this.#lastRandom = BigInt(`0x${randomBytes(10).toString("hex")}`) >> 1n;
    } else {
      this.#lastRandom += 1n;
    }
    let value = (BigInt(this.#lastMs) << 80n) | this.#lastRandom;
    let text = "";
    for (let i = 0; i < 26; i++) {
      text = `${alphabet[Number(value & 31n)]}${text}`;
      value >>= 5n;
    }
    return `${prefix}_${text}`;
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
