/** The ledger in memory: for tests, and for runs that shall leave nothing. */
import type { LedgerEntry, LedgerFilter, LedgerStore, LedgerTotal } from "./ledger-store.ts";

/** Keeps rows until it is closed. */
export class MemoryLedgerStore implements LedgerStore {
  readonly #entries = new Map<string, LedgerEntry>();

  async append(entries: readonly LedgerEntry[]): Promise<void> {
    for (const entry of entries) {
      if (!this.#entries.has(entry.id)) this.#entries.set(entry.id, entry);
    }
  }

  async list(
    filter: LedgerFilter,
    { limit, before }: { readonly limit: number; readonly before?: LedgerEntry | undefined },
  ): Promise<readonly LedgerEntry[]> {
    return this.#matching(filter)
      .sort(newestFirst)
      .filter((entry) => before === undefined || newestFirst(before, entry) < 0)
      .slice(0, limit);
  }

  async totals(filter: LedgerFilter): Promise<readonly LedgerTotal[]> {
    const totals = new Map<string, LedgerTotal>();
    for (const entry of this.#matching(filter)) {
      const { provider, model } = entry;
      const key = JSON.stringify([provider, model]);
      const sum = totals.get(key);
      totals.set(key, {
        provider,
        model,
        calls: (sum?.calls ?? 0) + 1,
        failedCalls: (sum?.failedCalls ?? 0) + (entry.outcome === "ok" ? 0 : 1),
        inputTokens: (sum?.inputTokens ?? 0) + entry.inputTokens,
        outputTokens: (sum?.outputTokens ?? 0) + entry.outputTokens,
      });
    }
    return [...totals.values()].sort(
      (a, b) => compare(a.provider, b.provider) || compare(a.model, b.model),
    );
  }

  async close(): Promise<void> {
    this.#entries.clear();
  }

  #matching({ fromMs, toMs, principal, jobId, provider }: LedgerFilter): LedgerEntry[] {
    return [...this.#entries.values()].filter(
      (entry) =>
        (fromMs === undefined || entry.atMs >= fromMs) &&
        (toMs === undefined || entry.atMs < toMs) &&
        (principal === undefined || entry.principal === principal) &&
        (jobId === undefined || entry.jobId === jobId) &&
        (provider === undefined || entry.provider === provider),
    );
  }
}

function newestFirst(a: LedgerEntry, b: LedgerEntry): number {
  return b.atMs - a.atMs || compare(b.id, a.id);
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
