/**
 * Changes of jobs as backends over one Postgres tell each other. Ids go out in
 * flushes, off the way of the changes themselves, and come in on a connection
 * of their own that comes back by itself. What is lost on the way was a hint.
 */
import { randomBytes } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { Client } from "pg";
import { JobChanges } from "./job-changes.ts";
import { jobChannel } from "./job-sql.postgres.ts";

const maxPauseMs = 5_000;

/** From one flush to the next at least. */
const flushPauseMs = 10;

/** Ids in one notification: Postgres takes 8,000 bytes. */
const idsAtOnce = 100;

/** How changes go out and how patiently the connection is looked after. */
export interface PostgresJobChangesOptions {
  /** Where to listen. */
  readonly url: string;
  /** Notifies all backends of each payload. */
  readonly send: (payloads: readonly string[]) => Promise<void>;
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
  readonly #send: PostgresJobChangesOptions["send"];
  /** Tells this process's own notifications from those of others. */
  readonly #name = randomBytes(6).toString("hex");
  #listening: Promise<void> | undefined;
  #waiting = new Set<string>();
  #flushing: Promise<void> | undefined;

  constructor(options: PostgresJobChangesOptions) {
    const { url, send, checkIntervalMs = 15_000, answerWithinMs = 5_000 } = options;
    this.#url = url;
    this.#send = send;
    this.#checkIntervalMs = checkIntervalMs;
    this.#answerWithinMs = answerWithinMs;
  }

  /** Adds a listener; answers how to remove it. */
  add(listener: (jobId: string) => void): () => void {
    this.#listening ??= this.#keepListening();
    return this.#changes.add(listener);
  }

  /** Tells this process at once, and the others with the next flush. Called after the commit. */
  tell(jobIds: readonly string[]): void {
    this.#changes.tell(jobIds);
    for (const id of jobIds) this.#waiting.add(id);
    if (this.#waiting.size > 0) this.#flushing ??= this.#flush();
  }

  /** Tells what waits, then ends the connection. */
  async close(): Promise<void> {
    this.#stop.abort();
    await this.#flushing;
    this.#changes.clear();
    await this.#listening;
  }

  async #flush(): Promise<void> {
    while (this.#waiting.size > 0) {
      const ids = [...this.#waiting];
      this.#waiting.clear();
      const payloads: string[] = [];
      for (let at = 0; at < ids.length; at += idsAtOnce) {
        payloads.push([this.#name, ...ids.slice(at, at + idsAtOnce)].join(" "));
      }
      try {
        await this.#send(payloads);
      } catch {
        // The others look for themselves.
      }
      await delay(flushPauseMs, undefined, { signal: this.#stop.signal }).catch(() => {
        // Closed: what waits still goes out.
      });
    }
    this.#flushing = undefined;
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
      const [name, ...ids] = payload?.split(" ") ?? [];
      if (name !== this.#name) this.#changes.tell(ids);
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
