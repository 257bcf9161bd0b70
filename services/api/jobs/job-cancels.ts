/** Cancelling: what a request does to a job in each of its states. */
import type { Job } from "@devmesh/gen/devmesh/api/v1/job_pb";
import { DevmeshError, notFound } from "@devmesh/mesh/errors";
import { closed, type EndingRows, type Transition } from "./job-endings.ts";
import { isFinal, type JobRow, toJob } from "./job-rows.ts";
import type { CancelInput } from "./job-store.ts";

/** See JobStore.requestCancel. */
export async function requestCancel(
  rows: EndingRows,
  id: string,
  input: CancelInput,
): Promise<Job> {
  for (;;) {
    const row = await rows.find(id);
    if (row === undefined) throw notFound("job", id);
    if (row.status === "cancelled" || (row.status === "running" && row.cancel_requested)) {
      return toJob(row);
    }
    if (isFinal(row.status)) {
      throw new DevmeshError("WRONG_STATE", `job ${id} has ${row.status} already`, {
        metadata: { state: row.status },
      });
    }
    const changed =
      row.status === "running"
        ? await rows.markCancel(row, input)
        : await rows.move(row, await cancelled(rows, row, input));
    if (changed) return toJob(changed);
  }
}

/** The end of a job that no runner holds. */
async function cancelled(rows: EndingRows, row: JobRow, input: CancelInput): Promise<Transition> {
  const cancel = { ...input, at: await rows.now() };
  const asked: JobRow = {
    ...row,
    ...{ cancel_requested: true, cancel_by: input.by },
    ...{ cancel_detail: input.detail, cancel_at: cancel.at },
  };
  const message = input.detail || "cancelled in the queue";
  return { ...(await closed(rows, asked, "cancelled", "CANCELLED", message)), cancel };
}
