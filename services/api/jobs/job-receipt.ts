/** The receipt of a cancel in a job's result. */
import { create } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { type CancelReceipt, CancelReceiptSchema } from "@devmesh/gen/devmesh/api/v1/job_result_pb";
import type { JobRow } from "./job-rows.ts";

/** The request as the store knows it, the steps as the runner says; undefined if nobody asked. */
export function cancelReceipt(
  row: JobRow,
  reported: CancelReceipt | undefined,
): CancelReceipt | undefined {
  if (!row.cancel_requested) return undefined;
  const { cancel_at, cancel_by: requestedBy, cancel_detail: detail } = row;
  return create(CancelReceiptSchema, {
    requestedBy,
    detail,
    steps: reported?.steps ?? [],
    processesLeft: reported?.processesLeft ?? 0,
    ...(cancel_at !== null && { requestTime: timestampFromDate(new Date(cancel_at)) }),
  });
}
