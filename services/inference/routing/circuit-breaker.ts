/**
 * Spares a provider that fails, and the requests that would wait for it: after
 * some failures in a row it is not asked for a while, then by one request only.
 */
import type { Clock } from "@devmesh/mesh/runtime";

/** When a breaker opens, and for how long. */
export interface CircuitBreakerOptions {
  readonly clock: Clock;
  /** Failures in a row that open it. Default: 5. */
  readonly failures?: number;
  /** How long it stays open, in milliseconds. Default: 30,000. */
  readonly openMs?: number;
}

/** `closed`: asked. `open`: not asked. `half-open`: one request tries it. */
export type CircuitState = "closed" | "open" | "half-open";

/** The breaker of one provider. */
export class CircuitBreaker {
  readonly #clock: Clock;
  readonly #limit: number;
  readonly #openMs: number;
  #failures = 0;
  #openedAt: number | undefined;
  #probing = false;

  constructor({ clock, failures = 5, openMs = 30_000 }: CircuitBreakerOptions) {
    this.#clock = clock;
    this.#limit = failures;
    this.#openMs = openMs;
  }

  /** Its state now. */
  get state(): CircuitState {
    if (this.#openedAt === undefined) return "closed";
    return this.retryAfterMs > 0 || this.#probing ? "open" : "half-open";
  }

  /** Until it may be tried, in milliseconds; 0 if it may. */
  get retryAfterMs(): number {
    if (this.#openedAt === undefined) return 0;
    return Math.max(0, this.#openedAt + this.#openMs - this.#clock.now());
  }

  /**
   * Takes the right to ask the provider. Every true must be followed by exactly
   * one of `succeeded`, `failed` and `released`.
   */
  tryEnter(): boolean {
    switch (this.state) {
      case "closed":
        return true;
      case "open":
        return false;
      case "half-open":
        this.#probing = true;
        return true;
      default:
        return this.state satisfies never;
    }
  }

  /** The provider answered, be it with a refusal. */
  succeeded(): void {
    this.#failures = 0;
    this.#openedAt = undefined;
    this.#probing = false;
  }

  /** The provider could not be reached, broke off, or answered nonsense. */
  failed(): void {
    this.#failures += 1;
    if (this.#probing || this.#failures >= this.#limit) this.#openedAt = this.#clock.now();
    this.#probing = false;
  }

  /** The request ended without telling anything of the provider. */
  released(): void {
    this.#probing = false;
  }
}
