/**
 * Many runners, sweeps and cancels at once on one store. Nobody knows who
 * wins; the events that are left must tell a story that holds together.
 */
import { createHash } from "node:crypto";
import { Isolation } from "@devmesh/gen/devmesh/api/v1/isolation_pb";
import { JobStatus } from "@devmesh/gen/devmesh/api/v1/job_status_pb";
import { DevmeshError } from "@devmesh/mesh/errors";
import { expect } from "chai";
import {
  accept,
  allEvents,
  history,
  type JobStoreBed,
  log,
  longMs,
  reasonOf,
  result,
} from "./job-store.suite.bed.ts";
import type { ClaimedJob, JobStore } from "./job-store.ts";

const jobCount = 24;
const runnerCount = 6;

/** Declares the test. */
export function stormSuite(bed: JobStoreBed): void {
  describe("many runners at once", function () {
    this.timeout(60_000);

    it("leave one story of each job", async () => {
      const stores = [await bed.fresh(), await bed.again()] as const;
      const [store] = stores;
      const ids: string[] = [];
      for (let i = 0; i < jobCount; i++) ids.push((await accept(store, { maxAttempts: 6 })).id);
      const open = async () => {
        const { queued, running } = await store.stats();
        return queued + running > 0;
      };
      const runners = Array.from({ length: runnerCount }, (_, i) =>
        run(stores[i % 2 === 0 ? 0 : 1], `r${i}`, open),
      );
      const cancels = ids
        .filter((_, i) => i % 5 === 0)
        .map((id) => reasonOf(stores[1].requestCancel(id, { by: "tok_1", detail: "" })));
      await Promise.all([...runners, ...cancels]);
      for (const id of ids) await checkStory(store, id);
    });
  });
}

/** Claims and works until all jobs have ended; now and then it loses a lease, and sweeps. */
async function run(store: JobStore, runnerId: string, open: () => Promise<boolean>): Promise<void> {
  for (let turn = Number(runnerId.slice(1)); await open(); turn++) {
    const dies = turn % 3 === 0;
    const leaseTtlMs = dies ? 0 : longMs;
    const claimed = await store.claim({ runnerId, strongest: Isolation.VM, max: 2, leaseTtlMs });
    const works = claimed.map((lease) => work(store, lease, dies, turn));
    // Another sweep may be quicker than the work: the fence is part of the storm.
    const sweeps = turn % 2 === 0 ? [store.sweep()] : [];
    await Promise.all([...works, ...sweeps]);
  }
}

async function work(
  store: JobStore,
  { job, epoch, nextSeq }: ClaimedJob,
  dies: boolean,
  turn: number,
): Promise<void> {
  const lease = { jobId: job.id, epoch };
  try {
    await store.append(lease, [log(nextSeq, `${epoch}\n`), log(nextSeq + 1, `${epoch}\n`)]);
    await store.append(lease, [log(nextSeq + 1, `${epoch}\n`), log(nextSeq + 2, `${epoch}\n`)]);
    if (turn % 4 === 0) await store.release(lease, "");
    else if (!dies) await store.finish(lease, nextSeq + 3, result(JobStatus.SUCCEEDED));
  } catch (error) {
    const fenced = error instanceof DevmeshError && error.reason === "FENCED";
    if (!fenced || !dies) throw error;
  }
}

/** One holder at a time, rising epochs, one end, and a digest that fits. */
async function checkStory(store: JobStore, id: string): Promise<void> {
  await history(store, id);
  const events = await allEvents(store, id);
  let holder: number | undefined;
  let topEpoch = 0;
  let running = false;
  let hash = createHash("sha256");
  for (const [index, { kind }] of events.entries()) {
    if (kind.case === "status") {
      running = kind.value.status === JobStatus.RUNNING;
      holder = undefined;
      if (running) hash = createHash("sha256");
    } else if (kind.case === "log") {
      const epoch = Number(Buffer.from(kind.value.data).toString());
      expect(running, "a log belongs to a holder").to.equal(true);
      if (holder === undefined) expect(epoch).to.be.greaterThan(topEpoch);
      else expect(epoch).to.equal(holder);
      holder = epoch;
      topEpoch = epoch;
      hash.update(kind.value.data);
    } else if (kind.case === "result") {
      expect(index).to.equal(events.length - 1);
      const { logSha256 } = kind.value;
      if (logSha256 !== "") expect(logSha256).to.equal(hash.digest("hex"));
    }
  }
  expect(events.at(-1)?.kind.case).to.equal("result");
}
