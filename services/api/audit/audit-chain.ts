/**
 * The chain over the audit: each row's hash covers the row before. This file
 * owns the formula; stores keep the hashes, `audit-verifier.ts` checks them.
 *
 * `hash` = SHA-256, in lower-case hex, over nine values written one after the
 * other as netstrings (`<length in bytes, decimal>:<UTF-8 bytes>,`):
 *
 *   the tag `devmesh-audit-1`, the hash of the row before (empty for the first
 *   row of the chain), id (decimal), time (milliseconds since the Unix epoch,
 *   decimal), actor, action, resource, outcome, correlation id.
 *
 * A row with a detail has the tag `devmesh-audit-2`, and its detail as a tenth
 * value.
 *
 * A length before each value leaves one way to read them: no text can be moved
 * from one field to the next without another hash.
 */
import { hash } from "node:crypto";
import type { AuditHead, AuditInput, AuditRecord } from "./audit-store.ts";

/** Name the formulas, so that one can never be taken for the other. */
const tags = { plain: "devmesh-audit-1", detailed: "devmesh-audit-2" };

/** The hash of a row behind one with the hash `before`. */
export function hashOfRow(before: string, row: Omit<AuditRecord, "hash">): string {
  const { id, timeMs, actor, action, resource, outcome, correlationId, detail } = row;
  const tag = detail === "" ? tags.plain : tags.detailed;
  const values = [tag, before, String(id), String(timeMs), actor, action, resource, outcome];
  const last = detail === "" ? [correlationId] : [correlationId, detail];
  const text = [...values, ...last].map(netstring).join("");
  return hash("sha256", text, "hex");
}

/**
 * The rows as they are stored behind `head`: with the ids that follow and their
 * hashes. Text is what every database gives back as it was: NUL becomes the
 * sign for it, half a surrogate pair U+FFFD.
 */
export function chainRows(head: AuditHead, rows: readonly AuditInput[]): AuditRecord[] {
  let before = head.hash;
  return rows.map((row, index) => {
    const linked = {
      id: head.id + 1 + index,
      timeMs: row.timeMs,
      actor: storable(row.actor),
      action: storable(row.action),
      resource: storable(row.resource),
      outcome: storable(row.outcome),
      correlationId: storable(row.correlationId),
      detail: storable(row.detail ?? ""),
    };
    before = hashOfRow(before, linked);
    return { ...linked, hash: before };
  });
}

function netstring(value: string): string {
  return `${Buffer.byteLength(value)}:${value},`;
}

function storable(text: string): string {
  return text.replaceAll("\0", "\u2400").toWellFormed();
}
