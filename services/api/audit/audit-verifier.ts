/** Checks the audit's chain, page by page, and names the first row that does not fit. */
import { setImmediate } from "node:timers/promises";
import { hashOfRow } from "./audit-chain.ts";
import type { AuditHead, AuditRecord, AuditStore } from "./audit-store.ts";

/** Rows that are held at once. */
const pageRows = 1_000;

/** What a check found. */
export interface AuditVerdict {
  readonly intact: boolean;
  /** Rows checked; those behind a broken one are not. */
  readonly rows: number;
  /** The hash of the last row that fits: kept elsewhere, it shows later that no tail was cut off. */
  readonly headHash: string;
  /** The first row that does not fit; 1 for one that was put in ahead of it. 0 if intact. */
  readonly brokenId: number;
  /** What is wrong with it. Empty if intact. */
  readonly detail: string;
}

/**
 * Walks over all rows that are there when it begins. Rows from before the
 * chain are taken at its start and nowhere else. The last row that was added
 * must be there and known, with none behind it. With `expectedHash` the chain must contain it: what came after
 * that hash was kept may have been added, but nothing up to it is gone. Throws
 * the signal's reason when it aborts.
 */
export async function verifyAudit(
  store: AuditStore,
  expectedHash: string,
  signal: AbortSignal,
): Promise<AuditVerdict> {
  // In this order: rows that are added in between are behind neither.
  const [newest = nothing] = await store.list(1);
  const known = await store.head();
  const last = known ?? nothing;
  let head = nothing;
  let rows = 0;
  let isExpectedMet = expectedHash === "";
  let isLastMet = last.id === 0;
  const broken = (brokenId: number, detail: string): AuditVerdict => {
    return { intact: false, rows, headHash: head.hash, brokenId: Math.max(brokenId, 1), detail };
  };
  for (;;) {
    signal.throwIfAborted();
    const page = await store.listFrom(pageRows, rows === 0 ? undefined : head.id);
    for (const row of page) {
      rows += 1;
      const detail = faultOf(row, head);
      if (detail !== "") return broken(row.id, detail);
      isExpectedMet ||= row.hash === expectedHash;
      isLastMet ||= row.id === last.id && row.hash === last.hash;
      head = row;
    }
    if (page.length < pageRows || head.id >= Math.max(newest.id, last.id)) break;
    // Other calls have their turn.
    await setImmediate();
  }
  if (known === undefined) {
    const detail = `the chain ends with row ${head.id}, and what is known of its end is gone (audit_head): rows may have been cut off`;
    return broken(head.id + 1, detail);
  }
  if (!isLastMet) {
    const end = head.id === 0 ? "there is no row" : `the chain ends with row ${head.id}`;
    const detail = `row ${last.id} was the last one added, and ${end}: rows were cut off its end`;
    return broken(head.id + 1, detail);
  }
  if (newest.id > last.id) {
    const end = last.id === 0 ? "no row" : `row ${last.id}`;
    const detail = `${end} is known as the last one added, and row ${newest.id} is there: what is known of the end (audit_head) was changed, or rows were put in behind it`;
    return broken(last.id + 1, detail);
  }
  if (isExpectedMet) return { intact: true, rows, headHash: head.hash, brokenId: 0, detail: "" };
  const detail = `the chain ends with row ${head.id} and has no hash ${expectedHash}: rows were cut off its end, or it was written anew`;
  return broken(head.id + 1, detail);
}

/** Before the first row. */
const nothing: AuditHead = { id: 0, hash: "" };

/** What is wrong with a row behind `before`; empty if nothing is. */
function faultOf(row: AuditRecord, before: AuditHead): string {
  if (row.id < 1) return `row ${row.id} was put in: the first row there can be is row 1`;
  if (row.hash === "") {
    if (before.hash === "") return "";
    return `row ${row.id} has no hash, though the chain began before it: it was put in, or its hash was taken away`;
  }
  if (hashOfRow(before.hash, row) === row.hash) return "";
  const isNext = row.id === before.id + 1;
  if (isNext) {
    return `row ${row.id} does not fit its hash: it was altered, put in, or moved, or the hash of the row before was changed`;
  }
  return `row ${row.id} does not fit behind row ${before.id}: the rows between them are gone, or it was altered`;
}
