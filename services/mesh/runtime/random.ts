/** Chance as a collaborator: the machine's, one that a seed decides, and one that tests set. */

/** Draws numbers. */
export interface Random {
  /** A number from 0 up to, and not including, 1. */
  next(): number;
}

/** The machine's random numbers; not for secrets. */
export class SystemRandom implements Random {
  next(): number {
    return Math.random();
  }
}

/** Numbers that a seed decides (the generator mulberry32): the same seed, the same numbers. */
export class SeededRandom implements Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed | 0;
  }

  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }
}

/** Draws the number that a test has set. */
export class TestRandom implements Random {
  /** What is drawn, from 0 up to, and not including, 1. */
  value: number;

  constructor(value = 0) {
    this.value = value;
  }

  next(): number {
    return this.value;
  }
}
