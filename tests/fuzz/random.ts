/** Chance that a seed decides: the same seed gives the same case on every machine. */
import { SeededRandom } from "@devmesh/mesh/runtime";

/** A stream of numbers, decided by the seed's parts together. */
export class Random extends SeededRandom {
  constructor(...seed: readonly (string | number)[]) {
    super(hash(seed.join("\u0000")));
  }

  /** A whole number from 0 up to, and without, `end`. */
  below(end: number): number {
    return Math.floor(this.next() * end);
  }

  /** True with this probability. */
  chance(probability: number): boolean {
    return this.next() < probability;
  }

  /** One of the items. Throws if there is none. */
  pick<T>(items: readonly T[]): T {
    const item = items[this.below(items.length)];
    if (items.length === 0) throw new Error("nothing to pick from");
    return item as T;
  }

  /** Random bytes. */
  bytes(length: number): Buffer {
    return Buffer.from(Array.from({ length }, () => this.below(256)));
  }

  /** A short word. */
  word(maxLength = 12): string {
    const length = 1 + this.below(maxLength);
    return Array.from({ length }, () => this.pick([..."abcdefghijklmnopqrstuvwxyz"])).join("");
  }
}

/** FNV-1a, 32 bits. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (const byte of Buffer.from(text)) value = Math.imul(value ^ byte, 0x01000193);
  return value >>> 0;
}
