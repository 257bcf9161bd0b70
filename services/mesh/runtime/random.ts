/** Chance as a collaborator: the machine's, and one that tests set. */

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
