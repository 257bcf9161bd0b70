/** The verifier finds what is wrong, whatever it is, and nothing where nothing is. */
import { clone, create } from "@bufbuild/protobuf";
import { expect } from "chai";
import type { HistoryEntry } from "../../chaos/history.ts";
import { type Verdict, verifyHistory } from "../../chaos/verifier.ts";
import { type Work, workKinds } from "../../chaos/work.ts";
import { type JobEvent, JobStatus } from "../../sdk/ts/src/node.ts";
import { JobEventSchema } from "../../sdk/ts/src/raw.ts";
import { addJob, type FakeJob, FakePlatform, historyOf } from "./fake-platform.ts";

const id = "job_1";
const work: Work = { kind: "lines", tag: "chaos-t-0-0-0", count: 40, pauseMs: 0 };

describe("the history verifier", () => {
  let platform: FakePlatform;
  let job: FakeJob;
  let history: HistoryEntry[];

  beforeEach(async () => {
    platform = new FakePlatform();
    job = await addJob(platform, id, work);
    history = historyOf(id, work, job);
  });

  const verify = () => verifyHistory(history, platform);

  /** Verifies; something must be found, and it must be told with the job's id. */
  async function findings(about: RegExp, of = id): Promise<Verdict> {
    const verdict = await verify();
    const said = verdict.problems.map(({ jobId, what }) => `${jobId}: ${what}`).join("\n");
    expect(said).to.match(about);
    expect(verdict.problems.map(({ jobId }) => jobId)).to.include(of);
    return verdict;
  }

  /** Changes the events of the last attempt's log. */
  function spoilLog(at: number, change: (data: Uint8Array) => Uint8Array): void {
    const event = job.events[at];
    if (event?.kind.case !== "log") throw new Error(`event ${at + 1} is no log`);
    const spoiled = clone(JobEventSchema, event);
    if (spoiled.kind.case === "log") spoiled.kind.value.data = change(event.kind.value.data);
    job.events = job.events.with(at, spoiled);
  }

  const renumbered = (events: readonly JobEvent[]) =>
    events.map((event, i) => create(JobEventSchema, { ...event, seq: i + 1 }));

  for (const kind of workKinds.filter((name) => name !== "lingering")) {
    it(`finds nothing in a whole history (${kind})`, async () => {
      const other = { ...work, kind, tag: "chaos-t-0-0-1" };
      history.push(...historyOf("job_2", other, await addJob(platform, "job_2", other)));
      const verdict = await verify();
      expect(verdict.problems).to.deep.equal([]);
      expect(verdict).to.include({ jobs: 2, acknowledged: 4, lost: 0, doubledKeys: 0 });
      expect(verdict).to.include({ logBytesLost: 0, logBytesDoubled: 0, fencedWrites: 6 });
      expect(verdict.logBytes).to.be.greaterThan(0);
    });
  }

  it("finds a lost job", async () => {
    platform.jobs.delete(id);
    expect((await findings(/acknowledged/)).lost).to.equal(1);
  });

  it("finds a job that has not ended", async () => {
    job.job.status = JobStatus.RUNNING;
    expect((await findings(/expected an end, found RUNNING/)).unfinished).to.equal(1);
  });

  it("finds a key that was answered with two jobs", async () => {
    await addJob(platform, "job_2", work);
    history.push({ kind: "accepted", key: work.tag, jobId: "job_2", replayed: false });
    expect((await findings(/one job of this key/, work.tag)).doubledKeys).to.equal(1);
  });

  it("finds a second job that nobody was told of", async () => {
    await addJob(platform, "job_2", work);
    expect((await findings(/no other job/, work.tag)).doubledKeys).to.equal(1);
  });

  it("allows one job to a key whose answer never came", async () => {
    const other = { ...work, tag: "chaos-t-0-0-1" };
    await addJob(platform, "job_2", other);
    history.push({ kind: "asked", key: other.tag, work: other, maxAttempts: 20 });
    expect((await verify()).problems).to.deep.equal([]);
    await addJob(platform, "job_3", other);
    expect((await findings(/no other job/, other.tag)).doubledKeys).to.equal(1);
  });

  it("finds a missing byte", async () => {
    spoilLog(6, (data) => data.slice(1));
    const verdict = await findings(/1 bytes lost, 0 doubled/);
    expect(verdict).to.include({ logBytesLost: 1, logBytesDoubled: 0, logBytesAltered: 0 });
  });

  it("finds a doubled byte", async () => {
    spoilLog(6, (data) => Buffer.concat([data.slice(0, 1), data]));
    const verdict = await findings(/0 bytes lost, 1 doubled/);
    expect(verdict).to.include({ logBytesLost: 0, logBytesDoubled: 1, logBytesAltered: 0 });
  });

  it("finds a lost end, and a doubled batch", async () => {
    spoilLog(6, (data) => data.slice(0, -7));
    expect((await findings(/7 bytes lost/)).logBytesLost).to.equal(7);
    job.events = renumbered([...job.events.slice(0, 6), ...job.events.slice(5)]);
    expect((await findings(/doubled/)).logBytesDoubled).to.be.greaterThan(100);
  });

  it("finds an altered byte", async () => {
    spoilLog(6, (data) => Buffer.from(data).fill("#", 3, 4));
    expect((await findings(/altered/)).logBytesAltered).to.be.greaterThan(0);
  });

  it("finds a doubled byte in an attempt that was lost", async () => {
    spoilLog(2, (data) => Buffer.concat([data.slice(0, 1), data]));
    expect((await findings(/1 doubled/)).logBytesDoubled).to.equal(1);
  });

  it("finds a gap in the numbers", async () => {
    job.events = job.events.toSpliced(3, 1);
    await findings(/expected event 4, found 5/);
  });

  it("finds two results, and none", async () => {
    const [last] = job.events.slice(-1);
    if (last === undefined) throw new Error("no events");
    job.events = renumbered([...job.events, last]);
    await findings(/expected one result, found 2/);
    job.events = job.events.slice(0, -2);
    await findings(/expected one result, found 0/);
  });

  it("finds a stream that differs from what is listed", async () => {
    job.streamed = job.events.toSpliced(6, 1);
    const verdict = await findings(/on the stream: expected event 7, found 8/);
    expect(verdict.logBytesLost).to.be.greaterThan(100);
  });

  it("finds a result whose SHA-256 is another log's", async () => {
    if (job.job.result !== undefined) job.job.result.logSha256 = "0".repeat(64);
    await findings(/expected \d+ bytes with SHA-256 0000/);
  });

  it("finds a watcher that got something else", async () => {
    const event = job.events[0];
    if (event !== undefined) job.events = job.events.with(0, clone(JobEventSchema, event));
    expect((await verify()).problems).to.deep.equal([]);
    const [first] = job.events;
    if (first?.kind.case === "status") first.kind.value.detail = "rewritten";
    await findings(/a watcher got 9 events/);
  });

  it("finds a job that ended other than its work", async () => {
    if (job.job.result !== undefined) Object.assign(job.job.result, { exitCode: 3, reason: "X" });
    await findings(/expected exit status 0/);
  });

  it("finds a runner's loss in an attempt that was not the last", async () => {
    const lost = { outcome: JobStatus.FAILED, reason: "RUNNER_LOST", exitCode: undefined };
    if (job.job.result !== undefined) Object.assign(job.job.result, lost);
    job.job.status = JobStatus.FAILED;
    await findings(/expected exit status 0, found FAILED RUNNER_LOST/);
  });

  it("finds attempts beyond the most", async () => {
    job.job.attempt = 21;
    await findings(/expected 20 attempts at most, found 21/);
  });

  it("finds a cancel that was taken and forgotten", async () => {
    const lingering: Work = { ...work, kind: "lingering", tag: "chaos-t-0-0-1" };
    const made = await addJob(platform, "job_2", lingering);
    history.push(...historyOf("job_2", lingering, made), { kind: "cancelled", jobId: "job_2" });
    await findings(/its cancel was taken: expected CANCELLED/, "job_2");
  });

  it("finds a cancel that nobody asked for", async () => {
    const cancelled = { outcome: JobStatus.CANCELLED, reason: "CANCELLED", exitCode: undefined };
    if (job.job.result !== undefined) Object.assign(job.job.result, cancelled);
    job.job.status = JobStatus.CANCELLED;
    await findings(/expected exit status 0, found CANCELLED/);
    history.push({ kind: "cancel-asked", jobId: id });
    const { problems } = await verify();
    expect(problems.filter(({ what }) => what.includes("exit status"))).to.deep.equal([]);
  });

  it("tells what a client was refused", async () => {
    history.push({ kind: "refused", jobId: id, what: "no such job" });
    await findings(/no such job/);
  });
});
