/** The audit in memory: gone with the process. */
import type { AuditRecord, AuditStore } from "./audit-store.ts";

/** Audit rows in this process. */
export class MemoryAuditStore implements AuditStore {
  readonly #rows: AuditRecord[] = [];

  async append(rows: readonly Omit<AuditRecord, "id">[]): Promise<void> {
    for (const row of rows) this.#rows.push({ ...row, id: this.#rows.length + 1 });
  }

  async list(limit: number, beforeId?: number): Promise<AuditRecord[]> {
    return this.#rows
      .filter((row) => beforeId === undefined || row.id < beforeId)
      .reverse()
      .slice(0, limit);
  }
}
