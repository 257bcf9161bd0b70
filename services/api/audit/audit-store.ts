/** The port behind which the audit lives: rows are added, never changed, and chained. */
import { DevmeshError } from "@devmesh/mesh/errors";

/** Who changed what, and how it went. */
export interface AuditRecord {
  /** One more than that of the row before; never given to another row. */
  readonly id: number;
  readonly timeMs: number;
  readonly actor: string;
  readonly action: string;
  readonly resource: string;
  /** `ok`, or the reason of the refusal. */
  readonly outcome: string;
  readonly correlationId: string;
  /** What else there is to say, as JSON. Empty: nothing. */
  readonly detail: string;
  /** As `audit-chain.ts` says. Empty: a row from before there was a chain. */
  readonly hash: string;
}

/** The end of a chain: the last row's id and hash. */
export interface AuditHead {
  /** 0: there is no row. */
  readonly id: number;
  /** Empty: the chain has not begun. */
  readonly hash: string;
}

/** A row to be added. */
export type AuditInput = Omit<AuditRecord, "id" | "hash" | "detail"> & {
  /** Default: empty. */
  readonly detail?: string;
};

/** Names a report that may come more than once. */
export interface AuditReport {
  /** What it is about: a job's id. */
  readonly source: string;
  /** Of the lease under which it is sent. */
  readonly epoch: number;
  /** Rising within the epoch. */
  readonly number: number;
}

/** Why nothing can be added. */
export function headIsGone(): DevmeshError {
  return new DevmeshError("INTERNAL", "the audit cannot go on: the row of audit_head is gone");
}

/** Audit rows. */
export interface AuditStore {
  /** Adds rows in order, chained to the last one: all, or none. Replicas make one chain. */
  append(rows: readonly AuditInput[]): Promise<void>;
  /** The same for the rows of a report; false, and nothing added, if it or a later one of its source is there. */
  appendReport(report: AuditReport, rows: readonly AuditInput[]): Promise<boolean>;
  /**
   * The last row that was added, kept apart from the rows: it is known though they be gone.
   * `undefined`: somebody has removed it, and nothing can be added.
   */
  head(): Promise<AuditHead | undefined>;
  /** Rows, newest first, older than `beforeId` where given. */
  list(limit: number, beforeId?: number): Promise<AuditRecord[]>;
  /** Rows, oldest first, newer than `afterId` where given. */
  listFrom(limit: number, afterId?: number): Promise<AuditRecord[]>;
}
