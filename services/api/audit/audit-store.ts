/** The port behind which the audit lives: rows are added, never changed. */

/** Who changed what, and how it went. */
export interface AuditRecord {
  /** Rising; given by the store. */
  readonly id: number;
  readonly timeMs: number;
  readonly actor: string;
  readonly action: string;
  readonly resource: string;
  /** `ok`, or the reason of the refusal. */
  readonly outcome: string;
  readonly correlationId: string;
}

/** Audit rows. */
export interface AuditStore {
  /** Adds rows in order. */
  append(rows: readonly Omit<AuditRecord, "id">[]): Promise<void>;
  /** Rows, newest first, older than `beforeId` where given. */
  list(limit: number, beforeId?: number): Promise<AuditRecord[]>;
}
