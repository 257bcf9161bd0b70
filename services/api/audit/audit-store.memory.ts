/** The audit in memory: gone with the process. */
import { chainRows } from "./audit-chain.ts";
import type { AuditInput, AuditRecord, AuditStore } from "./audit-store.ts";

/** Audit rows in this process. */
export class MemoryAuditStore implements AuditStore {
  readonly #rows: AuditRecord[] = [];

  async append(rows: readonly AuditInput[]): Promise<void> {
    const head = this.#rows.at(-1) ?? { id: 0, hash: "" };
    const ids = rows.map((_, index) => head.id + 1 + index);
    this.#rows.push(...chainRows(head, rows, ids));
  }

  async list(limit: number, beforeId = Number.MAX_SAFE_INTEGER): Promise<AuditRecord[]> {
    return this.#rows
      .filter((row) => row.id < beforeId)
      .reverse()
      .slice(0, limit);
  }

  async listFrom(limit: number, afterId: number): Promise<AuditRecord[]> {
    return this.#rows.filter((row) => row.id > afterId).slice(0, limit);
  }
}
