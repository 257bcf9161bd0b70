/** Notes writes that the fence kept out, and the rows of `job_fences`. */
import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { type FencedWrite, FencedWriteSchema } from "@devmesh/gen/devmesh/api/v1/job_pb";
import { DevmeshError } from "@devmesh/mesh/errors";
import type { RowTime } from "./job-rows.ts";
import type { LeaseRef } from "./job-store.ts";

/** What a lease may be refused. */
export type FencedAction = "append" | "finish" | "release" | "renew";

/** Rows of one job at most: what a runner repeats for ever fills no table. */
export const maxFences = 100;

/** A row of `job_fences`. */
export interface FenceRow {
  readonly epoch: number | string;
  readonly runner: string;
  readonly action: FencedAction;
  readonly count: number | string;
  /** Of the last. */
  readonly ts: RowTime;
}

/** The fenced write that a row stands for. */
export function toFencedWrite({ epoch, runner, action, count, ts }: FenceRow): FencedWrite {
  return create(FencedWriteSchema, {
    epoch: Number(epoch),
    runner,
    action,
    count: Number(count),
    time: timestampFromMs(new Date(ts).getTime()),
  });
}

/** Does the work; a refusal as FENCED is noted before it is thrown on. */
export async function noteFenced<T>(
  note: (lease: LeaseRef, action: FencedAction) => Promise<void>,
  lease: LeaseRef,
  action: FencedAction,
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof DevmeshError && error.reason === "FENCED") await note(lease, action);
    throw error;
  }
}
