/** What must be true of a platform that was restored from a backup, by the verifier of `chaos`. */
import { expect } from "chai";
import { type HistoryEntry, tagLabel } from "../../chaos/history.ts";
import { readPlatform } from "../../chaos/job-reader.ts";
import { verifyHistory } from "../../chaos/verifier.ts";
import { commandOf, type Work } from "../../chaos/work.ts";
import { createDevmesh } from "../../sdk/ts/src/node.ts";
import type { Up } from "./up.ts";

/** What was acknowledged before the backup began. */
export interface Acknowledged {
  /** Every job that was asked for and accepted until then. */
  readonly history: readonly HistoryEntry[];
  /** Jobs whose result was seen, with the SHA-256 of their log. */
  readonly ended: ReadonlyMap<string, string>;
  /** Blobs by SHA-256. */
  readonly blobs: ReadonlyMap<string, string>;
  /** A token's secret. */
  readonly secret: string;
}

/** How often a job may be started: the backup, the restore and the load may each cost it a runner. */
export const maxAttempts = 6;

/** The request for a piece of work. */
export function jobOf(work: Work) {
  return { command: commandOf(work), labels: { [tagLabel]: work.tag }, maxAttempts };
}

/** Fails unless nothing acknowledged is lost, doubled or damaged, and every job comes to its end. */
export async function expectHistory(up: Up, acknowledged: Acknowledged): Promise<void> {
  const { secret, history, ended, blobs } = acknowledged;
  const devmesh = createDevmesh({ baseUrl: up.url, token: secret });
  try {
    const accepted = new Map<string, string>();
    for (const entry of history) {
      if (entry.kind === "accepted") accepted.set(entry.key, entry.jobId);
    }
    for await (const { id } of devmesh.jobs.list()) await devmesh.jobs.wait(id);
    for (const entry of history) {
      if (entry.kind !== "asked" || !accepted.has(entry.key)) continue;
      const { key: idempotencyKey, work } = entry;
      const again = await devmesh.jobs.create(jobOf(work), { idempotencyKey });
      expect(again, idempotencyKey).to.include({
        jobId: accepted.get(idempotencyKey),
        replayed: true,
      });
    }
    const verdict = await verifyHistory(
      history,
      readPlatform({ devmesh, url: up.url, token: secret }),
    );
    expect(verdict.problems).to.deep.equal([]);
    expect(verdict).to.include({
      jobs: accepted.size,
      lost: 0,
      unfinished: 0,
      doubledKeys: 0,
      logBytesLost: 0,
      logBytesDoubled: 0,
      logBytesAltered: 0,
    });
    for (const [id, logSha256] of ended) {
      expect((await devmesh.jobs.get(id)).result?.logSha256, id).to.equal(logSha256);
    }
    for (const [sha256, text] of blobs) {
      const pieces: Uint8Array[] = [];
      for await (const piece of devmesh.blobs.get(sha256)) pieces.push(piece);
      expect(Buffer.concat(pieces).toString()).to.equal(text);
    }
  } finally {
    devmesh.close();
  }
}
