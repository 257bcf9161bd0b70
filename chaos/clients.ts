/** Clients of every backend, and calls that are repeated until one of them answers. */
import { setTimeout as delay } from "node:timers/promises";
import {
  createDevmesh,
  type DevmeshApiError,
  fromConnect,
  type NodeDevmesh,
} from "@devmesh/sdk/node";
import type { Random } from "./random.ts";

/** The longest that one call may take: a part that stands still is left for another. */
const callTimeoutMs = 5_000;

/** Rest between two tries, in milliseconds. */
const rest = { min: 100, max: 600 };

/** One client for each backend. */
export class Clients {
  readonly #clients: readonly NodeDevmesh[];
  /** How often calls failed in a way that a try later repairs, by reason. */
  readonly retried = new Map<string, number>();

  constructor(urls: readonly string[], token: string) {
    this.#clients = urls.map((baseUrl) =>
      createDevmesh({
        baseUrl,
        token,
        timeoutMs: callTimeoutMs,
        retry: { maxRetries: 1, baseDelayMs: 300, maxDelayMs: 1_000 },
      }),
    );
  }

  /** The first backend's. */
  get first(): NodeDevmesh {
    const [first] = this.#clients;
    if (first === undefined) throw new Error("there is no backend");
    return first;
  }

  /** Any of them. */
  pick(random: Random): NodeDevmesh {
    return random.pick(this.#clients);
  }

  /**
   * The first answer; each try may go to another backend. Throws what no try
   * repairs, and the signal's reason.
   */
  async untilAnswered<T>(
    call: (client: NodeDevmesh) => Promise<T>,
    { random, signal }: { readonly random: Random; readonly signal: AbortSignal },
  ): Promise<T> {
    for (;;) {
      signal.throwIfAborted();
      try {
        return await call(this.pick(random));
      } catch (error) {
        const failure = fromConnect(error);
        signal.throwIfAborted();
        if (!isPassing(failure)) throw failure;
        this.noteRetry(failure.reason);
        const waitMs = failure.retryAfterMs ?? random.integer(rest.min, rest.max);
        await delay(waitMs, undefined, { signal });
      }
    }
  }

  /** Counts a failure that a later try repairs. */
  noteRetry(reason: string): void {
    this.retried.set(reason, (this.retried.get(reason) ?? 0) + 1);
  }

  close(): void {
    for (const client of this.#clients) client.close();
  }
}

/** True for what a killed part explains: it was not reached, or broke off within the call. */
export function isPassing(failure: DevmeshApiError): boolean {
  if (failure.retryable) return true;
  return failure.reason === "INTERNAL" || failure.reason === "CANCELLED";
}
