/**
 * The port behind which token accounting is kept: one row for each answered or
 * failed call. The suite beside it holds every implementation to it. Budgets
 * and prices are left to others.
 */

/** One call. */
export interface LedgerEntry {
  /** Unique; the same entry appended twice counts once. */
  readonly id: string;
  /** When it ended, in milliseconds since the Unix epoch. */
  readonly atMs: number;
  readonly operation: "chat" | "embed";
  readonly requestId: string;
  /** The caller's token id, `dev`, `service` or `anonymous`. */
  readonly principal: string;
  /** Empty: none. */
  readonly jobId: string;
  /** The provider that answered or failed last. Empty: none was asked. */
  readonly provider: string;
  /** The model's name there. */
  readonly model: string;
  readonly inputTokens: number;
  readonly outputTokens: number;
  /** False where devmesh estimated. */
  readonly exact: boolean;
  readonly latencyMs: number;
  /** `ok`, or the reason's name. */
  readonly outcome: string;
  /** How many candidates failed before. */
  readonly fallbacks: number;
}

/** Which calls. Whatever is left out does not narrow. */
export interface LedgerFilter {
  /** From this time on, in milliseconds since the Unix epoch. */
  readonly fromMs?: number;
  /** Before this time. */
  readonly toMs?: number;
  readonly principal?: string;
  readonly jobId?: string;
  readonly provider?: string;
}

/** The sum over some calls. */
export interface LedgerTotal {
  readonly provider: string;
  readonly model: string;
  readonly calls: number;
  readonly failedCalls: number;
  readonly inputTokens: number;
  readonly outputTokens: number;
}

/** Keeps the rows. Throws UNAVAILABLE when the store cannot be reached. */
export interface LedgerStore {
  /** Adds entries, all or none; those that are there already are left as they are. */
  append(entries: readonly LedgerEntry[]): Promise<void>;
  /** The newest calls first, at most `limit`; `before` is the last one of the page before. */
  list(
    filter: LedgerFilter,
    page: { readonly limit: number; readonly before?: LedgerEntry | undefined },
  ): Promise<readonly LedgerEntry[]>;
  /** Sums for each provider and model, in the order of their names. */
  totals(filter: LedgerFilter): Promise<readonly LedgerTotal[]>;
  close(): Promise<void>;
}
