/** Owns whether the backend answers, and when it is asked again while it does not. */
import { type Backoff, backoffMs } from "../../ui/backoff.ts";
import type { Clock } from "../../ui/clock.ts";

/** How the backend does, as far as calls told. */
export type Reach =
  | { readonly state: "here" }
  | { readonly state: "away"; readonly sinceMs: number; readonly nextTryMs: number }
  | { readonly state: "trying"; readonly sinceMs: number };

/** What reachability needs of its surroundings. */
export interface ReachDeps {
  /** Asks the backend something cheap; false if it did not answer at all. */
  readonly probe: () => Promise<boolean>;
  readonly clock: Clock;
  /** From 0 up to 1. */
  readonly random: () => number;
  readonly onChange: (reach: Reach) => void;
}

/** The waits between tries. */
export const reachBackoff: Backoff = { firstMs: 1_000, mostMs: 30_000 };

/** Learns from every call; while the backend is away, it asks by itself. */
export class Reachability {
  readonly #deps: ReachDeps;
  #reach: Reach = { state: "here" };
  #failures = 0;
  #checking = false;
  #stopWait: (() => void) | undefined;

  constructor(deps: ReachDeps) {
    this.#deps = deps;
  }

  /** A call did not reach the backend. */
  failed(): void {
    if (this.#reach.state === "here") this.#wait(this.#deps.clock.now());
  }

  /** A call was answered, well or badly. */
  answered(): void {
    if (this.#reach.state === "here") return;
    this.#stopWait?.();
    this.#stopWait = undefined;
    this.#failures = 0;
    this.#set({ state: "here" });
  }

  /** Asks at once: the user wants it, the network or the page came back. */
  tryNow(): void {
    if (this.#reach.state === "away") this.#try(this.#reach.sinceMs);
  }

  /** Something else, a stream, lost the backend: is it really away? */
  suspect(): void {
    if (this.#reach.state !== "here" || this.#checking) return;
    this.#checking = true;
    void this.#deps.probe().then((ok) => {
      this.#checking = false;
      if (!ok) this.failed();
    });
  }

  #wait(sinceMs: number): void {
    this.#failures++;
    const ms = backoffMs(reachBackoff, this.#failures, this.#deps.random());
    this.#set({ state: "away", sinceMs, nextTryMs: this.#deps.clock.now() + ms });
    this.#stopWait = this.#deps.clock.after(ms, () => this.#try(sinceMs));
  }

  #try(sinceMs: number): void {
    this.#stopWait?.();
    this.#stopWait = undefined;
    this.#set({ state: "trying", sinceMs });
    void this.#deps.probe().then((ok) => {
      if (this.#reach.state !== "trying") return;
      if (ok) this.answered();
      else this.#wait(sinceMs);
    });
  }

  #set(reach: Reach): void {
    this.#reach = reach;
    this.#deps.onChange(reach);
  }
}
