/** The audit in memory: gone with the process. */
import { chainRows } from "./audit-chain.ts";
import type { AuditHead, AuditInput, AuditRecord, AuditReport, AuditStore } from "./audit-store.ts";

/** Audit rows in this process. */
export class MemoryAuditStore implements AuditStore {
  readonly #rows: AuditRecord[] = [];
  readonly #reports = new Map<string, AuditReport>();

  async append(rows: readonly AuditInput[]): Promise<void> {
    this.#rows.push(...chainRows(this.#head, rows));
  }

  async head(): Promise<AuditHead> {
    return this.#head;
  }

  get #head(): AuditHead {
    const { id, hash } = this.#rows.at(-1) ?? { id: 0, hash: "" };
    return { id, hash };
  }

  async appendReport(report: AuditReport, rows: readonly AuditInput[]): Promise<boolean> {
    const { source, epoch, number } = report;
    const known = this.#reports.get(source);
    const isOld =
      known && (epoch < known.epoch || (epoch === known.epoch && number <= known.number));
    if (isOld) return false;
    this.#reports.set(source, report);
    await this.append(rows);
    return true;
  }

  async list(limit: number, beforeId = Number.MAX_SAFE_INTEGER): Promise<AuditRecord[]> {
    return this.#rows
      .filter((row) => row.id < beforeId)
      .reverse()
      .slice(0, limit);
  }

  async listFrom(limit: number, afterId = Number.MIN_SAFE_INTEGER): Promise<AuditRecord[]> {
    return this.#rows.filter((row) => row.id > afterId).slice(0, limit);
  }
}
