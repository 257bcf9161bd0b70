/**
 * Changes of jobs as Postgres tells them, on a connection of their own that
 * comes back by itself. What is told while it is away is lost: a hint.
 */
import { setTimeout as delay } from "node:timers/promises";
import { Client } from "pg";
import { JobChanges } from "./job-changes.ts";
import { jobChannel } from "./job-sql.postgres.ts";

const maxPauseMs = 5_000;

/** How patiently the connection is looked after. */
export interface PostgresJobChangesOptions {
  /** How often the other end is asked whether it is there. Default: 15,000 ms. */
  readonly checkIntervalMs?: number;
  /** How long it may take to answer. Default: 5,000 ms. */
  readonly answerWithinMs?: number;
}

/** Listens from the first listener on. */
export class PostgresJobChanges {
  readonly #url: string;
  readonly #checkIntervalMs: number;
  readonly #answerWithinMs: number;
  readonly #changes = new JobChanges();
  readonly #stop = new AbortController();
  #listening: Promise<void> | undefined;

  constructor(url: string, options: PostgresJobChangesOptions = {}) {
    const { checkIntervalMs = 15_000, answerWithinMs = 5_000 } = options;
    this.#url = url;
    this.#checkIntervalMs = checkIntervalMs;
    this.#answerWithinMs = answerWithinMs;
  }

  /** Adds a listener; answers how to remove it. */
  add(listener: (jobId: string) => void): () => void {
    this.#listening ??= this.#keepListening();
    return this.#changes.add(listener);
  }

  /** Ends the connection. */
  async close(): Promise<void> {
    this.#stop.abort();
    this.#changes.clear();
    await this.#listening;
  }

  async #keepListening(): Promise<void> {
    let failures = 0;
    while (!this.#stop.signal.aborted) {
      if (await this.#listen()) failures = 0;
      else failures += 1;
      const pauseMs = Math.min(maxPauseMs, 50 * 2 ** failures) * (0.5 + Math.random() / 2);
      await delay(pauseMs, undefined, { signal: this.#stop.signal }).catch(() => {
        // Closed: the loop's condition ends it.
      });
    }
  }

  /** Listens until the connection or the store ends; false if it never came about. */
  async #listen(): Promise<boolean> {
    const { signal } = this.#stop;
    const client = new Client({
      connectionString: this.#url,
      keepAlive: true,
      connectionTimeoutMillis: this.#answerWithinMs,
      query_timeout: this.#answerWithinMs,
    });
    const lost = new AbortController();
    // Whatever breaks the connection, the answer is a new one.
    client.on("error", () => lost.abort());
    client.on("end", () => lost.abort());
    client.on("notification", ({ payload }) => {
      if (payload !== undefined) this.#changes.tell([payload]);
    });
    let listened = false;
    try {
      await client.connect();
      await client.query(`LISTEN ${jobChannel}`);
      listened = true;
      const ended = AbortSignal.any([signal, lost.signal]);
      // A connection whose other end has vanished is found by asking.
      for (;;) {
        await delay(this.#checkIntervalMs, undefined, { signal: ended });
        await client.query("SELECT 1");
      }
    } catch {
      return listened;
    } finally {
      await client.end().catch(() => {
        // It is gone already.
      });
    }
  }
}
