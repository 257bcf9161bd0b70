/** Appending, reading, listing, and hearing of changes. */
import { create } from "@bufbuild/protobuf";
import { JobEventSchema, LogStream } from "@devmesh/gen/devmesh/api/v1/job_event_pb";
import { JobStatus } from "@devmesh/gen/devmesh/api/v1/job_status_pb";
import { expect } from "chai";
import {
  accept,
  agentSpec,
  allEvents,
  history,
  hold,
  type JobStoreBed,
  log,
  note,
  refused,
  result,
} from "./job-store.suite.bed.ts";
import type { JobStore, ListQuery } from "./job-store.ts";

/** Declares the tests. */
export function eventsSuite(bed: JobStoreBed): void {
  describe("append", () => {
    let store: JobStore;
    beforeEach(async () => {
      store = await bed.fresh();
    });

    it("continues the log", async () => {
      const { id, lease } = await hold(store);
      expect(await store.append(lease, [log(3, "a"), note(4), log(5, "b")])).to.equal(5);
      expect(await store.append(lease, [log(6, "c")])).to.equal(6);
      expect(await store.append(lease, [])).to.equal(6);
      expect((await history(store, id)).slice(2)).to.deep.equal([
        "log a",
        "note noted",
        "log b",
        "log c",
      ]);
    });

    it("passes over what is stored already", async () => {
      const { id, lease } = await hold(store);
      await store.append(lease, [log(3, "a"), log(4, "b")]);
      expect(await store.append(lease, [log(3, "a"), log(4, "b")])).to.equal(4);
      expect(await store.append(lease, [log(3, "a")])).to.equal(4);
      expect(await store.append(lease, [log(4, "b"), log(5, "c")])).to.equal(5);
      expect((await history(store, id)).slice(2)).to.deep.equal(["log a", "log b", "log c"]);
    });

    it("stores a batch once when it is sent many times at once", async () => {
      const other = await bed.again();
      const { id, lease } = await hold(store);
      const batch = [log(3, "a"), log(4, "b"), log(5, "c")];
      const calls = [1, 2, 3, 2, 3, 1, 3].map((n, i) =>
        (i % 2 ? store : other).append(lease, batch.slice(0, n)),
      );
      await Promise.all(calls);
      expect((await history(store, id)).slice(2)).to.deep.equal(["log a", "log b", "log c"]);
    });

    it("refuses a gap, and what lies before the attempt", async () => {
      const { id, lease } = await hold(store);
      await refused(store.append(lease, [log(4, "x")]), "SEQUENCE_GAP");
      await refused(store.append(lease, [log(3, "x"), log(5, "x")]), "SEQUENCE_GAP");
      await refused(store.append(lease, [log(3, "x"), log(3, "x")]), "SEQUENCE_GAP");
      await refused(store.append(lease, [log(2, "x"), log(3, "x")]), "SEQUENCE_GAP");
      await refused(store.append(lease, [log(0, "x")]), "SEQUENCE_GAP");
      expect(await history(store, id)).to.have.length(2);
    });

    it("refuses what only the store may say", async () => {
      const { lease } = await hold(store);
      const status = { case: "status", value: { status: JobStatus.RUNNING } } as const;
      const kinds = [status, { case: "result", value: result() }, { case: undefined }] as const;
      for (const kind of kinds) {
        const event = create(JobEventSchema, { seq: 3, kind });
        await refused(store.append(lease, [event]), "INVALID_FIELD");
      }
    });

    it("keeps bytes, streams and notes to the letter, and sets the time", async () => {
      const { id, lease } = await hold(store);
      const bytes = Uint8Array.from({ length: 256 }, (_, i) => i);
      const odd = { level: "warn", topic: "t\0", message: "nul \0 'ü'", payload: { a: [1, null] } };
      const events = [
        create(JobEventSchema, {
          seq: 3,
          kind: { case: "log", value: { stream: LogStream.STDERR, data: bytes } },
        }),
        create(JobEventSchema, { seq: 4, kind: { case: "log", value: {} } }),
        create(JobEventSchema, { seq: 5, kind: { case: "note", value: odd } }),
        create(JobEventSchema, { seq: 6, kind: { case: "note", value: { level: "?" } } }),
      ];
      await store.append(lease, events);
      const stored = (await allEvents(store, id)).slice(2);
      expect(stored.map(({ kind }) => kind)).to.deep.equal(events.map(({ kind }) => kind));
      for (const { time } of stored) expect(time).not.to.equal(undefined);
    });

    it("refuses a note that JSON cannot hold", async () => {
      const { lease } = await hold(store);
      const value = { level: "info", payload: { bad: Number.NaN } };
      const event = create(JobEventSchema, { seq: 3, kind: { case: "note", value } });
      await refused(store.append(lease, [event]), "INVALID_FIELD");
    });

    it("takes a long batch of long lines", async () => {
      const { id, lease } = await hold(store);
      const line = "x".repeat(1_500);
      const batch = Array.from({ length: 2_000 }, (_, i) => log(3 + i, `${i} ${line}`));
      expect(await store.append(lease, batch)).to.equal(2_002);
      const stored = (await history(store, id)).slice(2);
      expect(stored).to.deep.equal(batch.map((_, i) => `log ${i} ${line}`));
    });
  });

  describe("readEvents", () => {
    let store: JobStore;
    beforeEach(async () => {
      store = await bed.fresh();
    });

    it("pages by number", async () => {
      const { id, lease } = await hold(store);
      await store.append(lease, [log(3, "a"), log(4, "b"), log(5, "c")]);
      const seqs = async (from: number, maxEvents: number) =>
        (await store.readEvents(id, from, { maxEvents, maxBytes: 1 << 20 })).map((e) => e.seq);
      expect(await seqs(0, 2)).to.deep.equal([1, 2]);
      expect(await seqs(1, 2)).to.deep.equal([1, 2]);
      expect(await seqs(3, 100)).to.deep.equal([3, 4, 5]);
      expect(await seqs(5, 1)).to.deep.equal([5]);
      expect(await seqs(6, 100)).to.deep.equal([]);
      expect(await seqs(4_294_967_295, 100)).to.deep.equal([]);
    });

    it("pages by bytes, and has one event at least", async () => {
      const { id, lease } = await hold(store);
      const lines = [3, 4, 5, 6].map((seq) => log(seq, "x".repeat(100)));
      await store.append(lease, lines);
      const seqs = async (maxBytes: number) =>
        (await store.readEvents(id, 3, { maxEvents: 100, maxBytes })).map((e) => e.seq);
      expect(await seqs(1)).to.deep.equal([3]);
      expect(await seqs(199)).to.deep.equal([3]);
      expect(await seqs(200)).to.deep.equal([3, 4]);
      expect(await seqs(1_000)).to.deep.equal([3, 4, 5, 6]);
    });

    it("is empty for a job that does not exist", async () => {
      expect(await allEvents(store, "job_none")).to.deep.equal([]);
    });
  });

  describe("list", () => {
    let store: JobStore;
    beforeEach(async () => {
      store = await bed.fresh();
    });

    const ids = async (query: Partial<ListQuery>) => {
      const defaults = { limit: 500, statuses: [], type: "" };
      return (await store.list({ ...defaults, ...query })).map(({ id }) => id);
    };

    it("pages through all jobs, newest first", async () => {
      for (const id of ["job_2", "job_4", "job_1", "job_3"]) await accept(store, { id });
      expect(await ids({})).to.deep.equal(["job_4", "job_3", "job_2", "job_1"]);
      expect(await ids({ limit: 3 })).to.deep.equal(["job_4", "job_3", "job_2"]);
      expect(await ids({ limit: 3, beforeId: "job_2" })).to.deep.equal(["job_1"]);
      expect(await ids({ limit: 3, beforeId: "job_1" })).to.deep.equal([]);
    });

    it("filters by owner, with all else", async () => {
      for (const [i, owner] of ["a", "b", "a", "b", "a"].entries()) {
        await accept(store, { id: `job_${i}`, owner, ...(i === 2 && { spec: agentSpec() }) });
      }
      await store.requestCancel("job_4", { by: "a", detail: "" });
      expect(await ids({ owner: "a" })).to.deep.equal(["job_4", "job_2", "job_0"]);
      expect(await ids({ owner: "a", limit: 1, beforeId: "job_4" })).to.deep.equal(["job_2"]);
      expect(await ids({ owner: "a", type: "agent" })).to.deep.equal(["job_2"]);
      const statuses = [JobStatus.CANCELLED];
      expect(await ids({ owner: "a", statuses })).to.deep.equal(["job_4"]);
      expect(await ids({ owner: "b", statuses })).to.deep.equal([]);
      expect(await ids({ owner: "c" })).to.deep.equal([]);
    });

    it("filters by status and type", async () => {
      const { QUEUED, RUNNING, SUCCEEDED, CANCELLED } = JobStatus;
      for (const id of ["job_1", "job_2"]) {
        const held = await hold(store, { id, ...(id === "job_2" && { spec: agentSpec() }) });
        await store.finish(held.lease, held.nextSeq, result());
      }
      await hold(store, { id: "job_3" });
      await accept(store, { id: "job_4", spec: agentSpec() });
      await accept(store, { id: "job_5" });
      await store.requestCancel("job_5", { by: "tok_1", detail: "" });
      expect(await ids({ statuses: [SUCCEEDED] })).to.deep.equal(["job_2", "job_1"]);
      expect(await ids({ statuses: [QUEUED, RUNNING] })).to.deep.equal(["job_4", "job_3"]);
      expect(await ids({ statuses: [CANCELLED, CANCELLED] })).to.deep.equal(["job_5"]);
      expect(await ids({ type: "agent" })).to.deep.equal(["job_4", "job_2"]);
      expect(await ids({ type: "agent", statuses: [QUEUED] })).to.deep.equal(["job_4"]);
      expect(await ids({ type: "command", limit: 2 })).to.deep.equal(["job_5", "job_3"]);
      expect(await ids({ type: "command", beforeId: "job_3" })).to.deep.equal(["job_1"]);
      expect(await ids({ type: "none" })).to.deep.equal([]);
    });
  });

  describe("onChange", () => {
    it("tells of changes until it is stopped", async function () {
      this.timeout(20_000);
      const store = await bed.fresh();
      const heard: string[] = [];
      const stop = store.onChange((id) => heard.push(id));
      // A hint may be lost while the listening starts: changes go on until one is heard.
      const { id, lease } = await hold(store);
      for (let seq = 3; heard.length === 0; seq++) {
        await store.append(lease, [log(seq, "a")]);
        await new Promise((resolve) => setImmediate(resolve));
      }
      expect(heard[0]).to.equal(id);
      stop();
      const until = heard.length;
      await accept(store);
      expect(heard).to.have.length(until);
    });
  });

  describe("ping", () => {
    it("answers while the store is open", async () => {
      await (await bed.fresh()).ping();
    });
  });
}
