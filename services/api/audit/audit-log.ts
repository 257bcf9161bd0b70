/**
 * Where audit rows go: changes are stored before they are answered, model calls
 * soon after. Rows that come while a write is on its way share the next one, so
 * that the chain costs one transaction for many calls. Rows that could not be
 * stored are kept and tried again, while the service is not ready.
 */
import type { AuditEntry } from "@devmesh/mesh/interceptors";
import type { Logger } from "@devmesh/mesh/log";
import type { Clock } from "@devmesh/mesh/runtime";
import type { AuditStore } from "./audit-store.ts";
import { RefusalSummary } from "./refusal-summary.ts";

/** Rows of one write at most. */
const maxBatch = 500;

/** How long rows of model calls may wait for others. */
const flushAfterMs = 50;

/** When rows that could not be stored are tried again, if nothing else is written before. */
const retryAfterMs = 1_000;

/** Rows that are kept while none can be stored. */
const maxKept = 10_000;

/** What the log needs. */
export interface AuditLogOptions {
  readonly store: AuditStore;
  readonly logger: Logger;
  readonly clock: Clock;
}

/** A row that is not stored yet. */
interface Waiting {
  readonly entry: AuditEntry;
  /** Called when it is stored, or could not be. Absent: its call is answered already. */
  readonly settle?: (error?: unknown) => void;
  /** Called when it is stored or lost. */
  over?: () => void;
}

/** The audit's writer. */
export class AuditLog {
  readonly #store: AuditStore;
  readonly #logger: Logger;
  readonly #refusals: RefusalSummary;
  #waiting: Waiting[] = [];
  #timer: NodeJS.Timeout | undefined;
  #writing: Promise<void> | undefined;
  /** Why the last write failed. */
  #failure: unknown;
  /** The write that is on its way, or the last one. */
  #batch: Promise<void> = Promise.resolve();

  constructor({ store, logger, clock }: AuditLogOptions) {
    this.#store = store;
    this.#logger = logger;
    this.#refusals = new RefusalSummary({ clock, write: (entry) => this.#buffer(entry) });
  }

  /** Takes one row; the promise, if any, resolves when it is stored and rejects if it cannot be. */
  record(entry: AuditEntry): Promise<void> | undefined {
    if (!this.#refusals.admit(entry)) return undefined;
    if (entry.action.startsWith("llm.")) return this.#buffer(entry);
    return new Promise((resolve, reject) => {
      const settle = (error?: unknown) => (error === undefined ? resolve() : reject(error));
      this.#waiting.push({ entry, settle });
      this.#write();
    });
  }

  /** Throws the reason while rows cannot be stored. */
  check(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** Writes what waits; resolves when all that was taken until now is stored, or could not be. Never rejects. */
  async flush(): Promise<void> {
    const last = this.#waiting.at(-1);
    this.#write();
    // Not for the end of all writes: under load there is none.
    if (last === undefined) return this.#batch;
    const before = last.over;
    await new Promise<void>((resolve) => {
      last.over = () => {
        before?.();
        resolve();
      };
    });
  }

  /** Ends the count of refusals and writes everything; what cannot be stored now is lost. */
  async close(): Promise<void> {
    this.#refusals.close();
    await this.flush();
    clearTimeout(this.#timer);
    this.#lose(this.#waiting.splice(0));
  }

  #buffer(entry: AuditEntry): undefined {
    this.#waiting.push({ entry });
    if (this.#waiting.length >= maxBatch) this.#write();
    else this.#timer ??= setTimeout(() => this.#write(), flushAfterMs);
  }

  #write(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#writing ??= this.#writeAll();
  }

  async #writeAll(): Promise<void> {
    // Whoever calls in this turn is in the first write.
    await Promise.resolve();
    let isStoring = true;
    while (this.#waiting.length > 0 && isStoring) {
      const stored = this.#writeBatch(this.#waiting.splice(0, maxBatch));
      this.#batch = stored.then(() => {});
      isStoring = await stored;
    }
    this.#writing = undefined;
    if (!isStoring) this.#timer ??= setTimeout(() => this.#write(), retryAfterMs);
  }

  /** False if it could not be stored. */
  async #writeBatch(batch: readonly Waiting[]): Promise<boolean> {
    let failure: unknown;
    try {
      await this.#store.append(batch.map(({ entry }) => entry));
      this.#failure = undefined;
    } catch (err) {
      failure = err ?? new Error("no reason was given");
      this.#failure = failure;
      this.#logger.error({ err, rows: batch.length }, "audit rows could not be stored yet");
      // Nobody waits for them any more: all that wait are told.
      const waiting = [...batch, ...this.#waiting.splice(0)];
      this.#waiting = waiting.map(({ entry }) => ({ entry }));
      this.#lose(this.#waiting.splice(0, Math.max(this.#waiting.length - maxKept, 0)));
      batch = waiting;
    }
    for (const { settle, over } of batch) {
      settle?.(failure);
      over?.();
    }
    return failure === undefined;
  }

  /** The log is the last place for rows that are given up. */
  #lose(given: readonly Waiting[]): void {
    if (given.length === 0) return;
    const rows = given.map(({ entry }) => entry);
    this.#logger.error({ rows }, "audit rows are lost");
  }
}
