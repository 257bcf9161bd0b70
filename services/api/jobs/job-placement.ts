/** Which runner may take a job: the labels that it asks for, as the queue's indexes have them. */

/** Labels, as of a runner or wanted by a job. */
export type Labels = Readonly<Record<string, string>>;

/**
 * How many different sets of labels one claim looks at. Of more that fit a
 * runner, those with the fewest labels are served first.
 */
export const maxPlacements = 512;

/** Each label as `key=value`, in the order of their bytes. */
export function labelList(labels: Labels): string[] {
  return Object.entries(labels)
    .map(([key, value]) => `${key}=${value}`)
    .sort((a, b) => (a < b ? -1 : 1));
}

/** What a job with these labels asks of its runner, as the column `placement` has it. */
export function placementOf(labels: Labels): string {
  return labelList(labels)
    .map((label) => `${label}\n`)
    .join("");
}

/** The labels of a placement, each as `key=value`. */
export function labelsOf(placement: string): string[] {
  return placement.split("\n").slice(0, -1);
}

/** True if a runner with these labels has all that a placement asks for. */
export function isPlaced(placement: string, labels: Labels): boolean {
  const own = new Set(labelList(labels));
  return labelsOf(placement).every((label) => own.has(label));
}

/** The queues of a job's own labels and of none: who is in them is taken by the runners that fit it. */
export function rivals(placement: string): string[] {
  return [...new Set(["", placement])];
}

/** What a row of `jobs` says of the callers that took its leases. */
export interface HolderRow {
  readonly epoch: number | string;
  readonly holder: string;
  readonly retried_epoch: number | string;
  readonly retried_holder: string;
}

/**
 * Who took a lease; undefined where the row does not tell any more. A lease
 * that has ended without the next leaves the epoch one above its own.
 */
export function holderOf(row: HolderRow, epoch: number): string | undefined {
  const since = Number(row.epoch) - epoch;
  if (since === 0 || since === 1) return row.holder;
  return Number(row.retried_epoch) === epoch ? row.retried_holder : undefined;
}
