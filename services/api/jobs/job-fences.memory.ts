/** Writes that the fence kept out, in memory: rows as in `job_fences`. */
import type { FencedWrite } from "@devmesh/gen/devmesh/api/v1/job_pb";
import { type FencedAction, type FenceRow, maxFences, toFencedWrite } from "./job-fences.ts";
import type { JobRow } from "./job-rows.ts";
import type { LeaseRef } from "./job-store.ts";

/** One row for each job, epoch and action. */
export class MemoryFences {
  readonly #rows = new Map<string, FenceRow[]>();

  /** Counts a refusal. Leases that were never given leave no trace. */
  note(
    row: JobRow | undefined,
    { jobId, epoch }: LeaseRef,
    action: FencedAction,
    ts: string,
  ): void {
    if (row === undefined || epoch < 1 || epoch > Number(row.epoch)) return;
    const rows = this.#rows.get(jobId) ?? [];
    const known = rows.find((fence) => fence.epoch === epoch && fence.action === action);
    const runner = known?.runner ?? (Number(row.epoch) - epoch <= 1 ? row.runner : "");
    const count = Number(known?.count ?? 0) + 1;
    const others = rows.filter((fence) => fence !== known);
    if (others.length >= maxFences) return;
    this.#rows.set(jobId, [...others, { epoch, action, runner, count, ts }]);
  }

  /** By epoch, then by action. */
  of(jobId: string): FencedWrite[] {
    const order = (a: FenceRow, b: FenceRow) =>
      Number(a.epoch) - Number(b.epoch) || (a.action < b.action ? -1 : 1);
    return [...(this.#rows.get(jobId) ?? [])].sort(order).map(toFencedWrite);
  }
}
