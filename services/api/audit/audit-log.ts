/**
 * Where audit rows go: changes are stored before they are answered, model calls
 * soon after. Rows that come while a write is on its way share the next one, so
 * that the chain costs one transaction for many calls.
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

  /** Writes what waits; resolves when all that was taken until now is written. Never rejects. */
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

  /** Ends the count of refusals and writes everything. */
  async close(): Promise<void> {
    this.#refusals.close();
    await this.flush();
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
    while (this.#waiting.length > 0) {
      this.#batch = this.#writeBatch(this.#waiting.splice(0, maxBatch));
      await this.#batch;
    }
    this.#writing = undefined;
  }

  async #writeBatch(batch: readonly Waiting[]): Promise<void> {
    try {
      await this.#store.append(batch.map(({ entry }) => entry));
      for (const { settle } of batch) settle?.();
    } catch (err) {
      for (const { settle } of batch) settle?.(err);
      const rows = batch.filter(({ settle }) => settle === undefined).map(({ entry }) => entry);
      // The calls are answered already: the log is the last place for their rows.
      if (rows.length > 0) this.#logger.error({ err, rows }, "audit rows could not be stored");
    }
    for (const { over } of batch) over?.();
  }
}
