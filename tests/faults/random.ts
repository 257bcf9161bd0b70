/** Whole numbers by chance. */
import type { Random } from "@devmesh/mesh/runtime";

/** A whole number from `least` to `most`. */
export function between(random: Random, least: number, most: number): number {
  return least + Math.floor(random.next() * (most - least + 1));
}
