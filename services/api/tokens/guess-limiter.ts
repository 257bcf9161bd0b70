/** Slows down who guesses console links, for each address. In memory: each replica counts for itself. */
import { DevmeshError } from "@devmesh/mesh/errors";
import type { Clock } from "@devmesh/mesh/runtime";

/** Wrong guesses that an address has in a window. */
const maxGuesses = 20;

/** The window: one minute. */
const windowMs = 60_000;

/** Addresses remembered; the oldest is forgotten for a new one. */
const maxAddresses = 10_000;

interface Guesses {
  count: number;
  readonly sinceMs: number;
}

/** Counts guesses; right ones are given back. */
export class GuessLimiter {
  readonly #clock: Clock;
  readonly #guesses = new Map<string, Guesses>();

  constructor({ clock }: { readonly clock: Clock }) {
    this.#clock = clock;
  }

  /** Counts a guess. Throws RATE_LIMITED for an address that has had all of this minute's. */
  take(address: string): void {
    const guesses = this.#current(address);
    if (guesses.count >= maxGuesses) {
      const retryAfterMs = guesses.sinceMs + windowMs - this.#clock.now();
      throw new DevmeshError("RATE_LIMITED", "too many wrong links from this address", {
        retryAfterMs,
      });
    }
    guesses.count += 1;
  }

  /** The guess was right. */
  giveBack(address: string): void {
    this.#current(address).count -= 1;
  }

  #current(address: string): Guesses {
    const nowMs = this.#clock.now();
    const known = this.#guesses.get(address);
    if (known !== undefined && known.sinceMs + windowMs > nowMs) return known;
    this.#guesses.delete(address);
    const [oldest] = this.#guesses.keys();
    if (this.#guesses.size >= maxAddresses && oldest !== undefined) this.#guesses.delete(oldest);
    const fresh = { count: 0, sinceMs: nowMs };
    this.#guesses.set(address, fresh);
    return fresh;
  }
}
