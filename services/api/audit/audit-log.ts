/** Where audit rows go: changes are stored before they are answered, model calls soon after. */
import type { AuditEntry } from "@devmesh/mesh/interceptors";
import type { Logger } from "@devmesh/mesh/log";
import type { AuditStore } from "./audit-store.ts";

/** How many rows of model calls may wait for their write. */
const maxBuffered = 500;

/** How long they may wait. */
const flushAfterMs = 50;

/** The audit's writer. */
export class AuditLog {
  readonly #store: AuditStore;
  readonly #logger: Logger;
  #buffer: AuditEntry[] = [];
  #timer: NodeJS.Timeout | undefined;
  /** The last write of buffered rows; each waits for the one before. */
  #writing: Promise<void> = Promise.resolve();

  constructor({ store, logger }: { readonly store: AuditStore; readonly logger: Logger }) {
    this.#store = store;
    this.#logger = logger;
  }

  /** Takes one row; the promise, if any, resolves when it is stored. */
  record(entry: AuditEntry): Promise<void> | undefined {
    if (!entry.action.startsWith("llm.")) return this.#store.append([entry]);
    this.#buffer.push(entry);
    if (this.#buffer.length >= maxBuffered) void this.flush();
    else this.#timer ??= setTimeout(() => void this.flush(), flushAfterMs);
    return undefined;
  }

  /** Writes what waits; resolves when all that was taken until now is written. Never rejects. */
  flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const rows = this.#buffer;
    this.#buffer = [];
    if (rows.length > 0) this.#writing = this.#writing.then(() => this.#write(rows));
    return this.#writing;
  }

  async #write(rows: readonly AuditEntry[]): Promise<void> {
    try {
      await this.#store.append(rows);
    } catch (err) {
      // The calls are answered already: the log is the last place for their rows.
      this.#logger.error({ err, rows }, "audit rows could not be stored");
    }
  }
}
