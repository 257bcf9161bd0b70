/** What must be true of a platform that was restored from a backup. */
import { createHash } from "node:crypto";
import { expect } from "chai";
import { createDevmesh, JobStatus } from "../../sdk/ts/src/node.ts";
import type { Up } from "./up.ts";

/** What was acknowledged before the backup began. */
export interface Acknowledged {
  /** Job ids by idempotency key. */
  readonly jobs: ReadonlyMap<string, string>;
  /** Jobs whose result was seen, with the SHA-256 of their log. */
  readonly ended: ReadonlyMap<string, string>;
  /** Blobs by SHA-256. */
  readonly blobs: ReadonlyMap<string, string>;
  /** A token's secret. */
  readonly secret: string;
}

/** What the job of a key is asked to do. */
export function jobOf(key: string): { readonly command: string[] } {
  const counting = "i=0; while [ $i -lt 40 ]; do i=$((i+1)); echo line $i; sleep 0.1; done";
  return { command: ["sh", "-c", key === "long" ? counting : "echo begin; echo end"] };
}

/** Fails unless nothing acknowledged is lost, doubled or damaged, and every job comes to its end. */
export async function expectHistory(up: Up, acknowledged: Acknowledged): Promise<void> {
  const devmesh = createDevmesh({ baseUrl: up.url, token: acknowledged.secret });
  try {
    const ids: string[] = [];
    for await (const { id } of devmesh.jobs.list()) ids.push(id);
    expect(new Set(ids).size).to.equal(ids.length);
    expect(ids).to.include.members([...acknowledged.jobs.values()]);
    for (const [idempotencyKey, jobId] of acknowledged.jobs) {
      const again = await devmesh.jobs.create(jobOf(idempotencyKey), { idempotencyKey });
      expect(again, idempotencyKey).to.include({ jobId, replayed: true });
    }
    for (const id of ids) {
      const digest = await expectWholeLog(devmesh, id);
      const before = acknowledged.ended.get(id);
      if (before !== undefined) expect(digest).to.equal(before);
    }
    for (const [sha256, text] of acknowledged.blobs) {
      const pieces: Uint8Array[] = [];
      for await (const piece of devmesh.blobs.get(sha256)) pieces.push(piece);
      expect(Buffer.concat(pieces).toString()).to.equal(text);
    }
  } finally {
    devmesh.close();
  }
}

/** Follows a job to its end: numbers without a gap, and the log that its result names. */
async function expectWholeLog(devmesh: Pick<Up["devmesh"], "jobs">, id: string): Promise<string> {
  let last = 0;
  let log = createHash("sha256");
  for await (const { seq, kind } of devmesh.jobs.watch(id)) {
    expect(Number(seq), id).to.equal(last + 1);
    last = Number(seq);
    if (kind.case === "status" && kind.value.status === JobStatus.RUNNING) {
      log = createHash("sha256");
    }
    if (kind.case === "log") log.update(kind.value.data);
    if (kind.case !== "result") continue;
    const digest = log.digest("hex");
    expect(kind.value, `${id}: ${kind.value.message}`).to.include({
      outcome: JobStatus.SUCCEEDED,
      logSha256: digest,
    });
    return digest;
  }
  return expect.fail(`${id} has no result`);
}
