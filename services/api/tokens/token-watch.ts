/**
 * Ends open streams when their tokens end: at once where the token was ended by
 * this process, within a second where another replica, its time or its job
 * ended it.
 */
import type { Principal } from "@devmesh/mesh/context";
import type { CredentialWatch } from "@devmesh/mesh/interceptors";
import type { Logger } from "@devmesh/mesh/log";
import type { Clock } from "@devmesh/mesh/runtime";
import { TokenPrincipal } from "./token-principal.ts";
import { type Tokens, unauthenticated } from "./tokens.ts";

/** How often the store is asked, in one query for all open streams. */
const pollMs = 1_000;

/** What the watch needs. */
export interface TokenWatchOptions {
  readonly tokens: Pick<Tokens, "ended">;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** The tokens of the streams that are open in this process. */
export class TokenWatch {
  readonly #tokens: Pick<Tokens, "ended">;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #held = new Map<TokenPrincipal, AbortController>();
  #stop = new AbortController();
  #polling: Promise<void> | undefined;

  constructor({ tokens, clock, logger }: TokenWatchOptions) {
    this.#tokens = tokens;
    this.#clock = clock;
    this.#logger = logger;
  }

  /** Watches the token of a caller; undefined for callers without one. */
  watch(principal: Principal): CredentialWatch | undefined {
    if (!(principal instanceof TokenPrincipal)) return undefined;
    const controller = new AbortController();
    this.#held.set(principal, controller);
    this.#polling ??= this.#poll();
    return {
      signal: controller.signal,
      [Symbol.dispose]: () => {
        this.#held.delete(principal);
        // Nothing is open: the loop ends, and the next stream starts another.
        if (this.#held.size === 0) this.#stop.abort();
      },
    };
  }

  /** Looks at once at the streams of a token, or of a job's token, that has changed here. */
  async look(tokenOrJobId: string): Promise<void> {
    const touched = [...this.#held.keys()].filter(
      ({ id, jobId }) => id === tokenOrJobId || jobId === tokenOrJobId,
    );
    if (touched.length > 0) await this.#endThose(touched);
  }

  /** Stops polling. */
  async close(): Promise<void> {
    this.#held.clear();
    this.#stop.abort();
    await this.#polling;
  }

  async #poll(): Promise<void> {
    while (this.#held.size > 0) {
      this.#stop = new AbortController();
      // Ends early when nothing is left to watch.
      await this.#clock.sleep(pollMs, this.#stop.signal).catch(() => {});
      if (this.#held.size > 0) await this.#endThose([...this.#held.keys()]);
    }
    this.#polling = undefined;
  }

  async #endThose(principals: readonly TokenPrincipal[]): Promise<void> {
    try {
      for (const ended of await this.#tokens.ended(principals)) {
        this.#held.get(ended)?.abort(unauthenticated());
        this.#held.delete(ended);
      }
    } catch (err) {
      // The store is away: nobody can say that a token has ended. The next round asks again.
      this.#logger.warn({ err }, "tokens of open streams could not be checked");
    }
  }
}
