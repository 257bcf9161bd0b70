/** Answers to agents that ask: which question is open, and what becomes of answers. */
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { type AgentAnswer, AgentAnswerSchema } from "@devmesh/gen/devmesh/api/v1/agent_work_pb";
import { type JobEvent, JobEventSchema } from "@devmesh/gen/devmesh/api/v1/job_event_pb";
import { expect } from "chai";
import {
  agentSpec,
  hold,
  type JobStoreBed,
  log,
  longMs,
  reasonOf,
  refused,
  result,
} from "./job-store.suite.bed.ts";
import type { JobStore } from "./job-store.ts";

function topic(seq: number, name: string): JobEvent {
  const value = { level: "info", topic: name, message: name };
  return create(JobEventSchema, { seq, kind: { case: "note", value } });
}

function answerTo(
  questionSeq: number,
  more: MessageInitShape<typeof AgentAnswerSchema> = {},
): AgentAnswer {
  return create(AgentAnswerSchema, { moreSteps: 5, ...more, questionSeq });
}

/** Declares the tests. */
export function answersSuite(bed: JobStoreBed): void {
  describe("answer", () => {
    let store: JobStore;
    beforeEach(async () => {
      store = await bed.fresh();
    });

    /** A running job that asks at event 4. */
    async function asking() {
      const held = await hold(store, { spec: agentSpec() });
      await store.append(held.lease, [log(3, "x"), topic(4, "agent.question")]);
      return held;
    }

    it("keeps the answer for the runner's renewals", async () => {
      const { id, lease } = await asking();
      expect((await store.renew([lease], longMs))[0]?.answer).to.equal(undefined);
      expect((await store.answer(id, answerTo(4))).id).to.equal(id);
      const [state] = await (await bed.again()).renew([lease], longMs);
      expect(state?.answer).to.deep.equal(answerTo(4));
    });

    it("takes the same answer again, and no other", async () => {
      const { id, lease, nextSeq } = await asking();
      await store.answer(id, answerTo(4));
      await store.answer(id, answerTo(4));
      await refused(store.answer(id, answerTo(4, { moreSteps: 6 })), "WRONG_STATE");
      await store.append(lease, [topic(5, "agent.answer")]);
      expect((await store.answer(id, answerTo(4))).id).to.equal(id);
      await store.finish(lease, nextSeq + 3, result());
      expect((await store.answer(id, answerTo(4))).id).to.equal(id);
    });

    it("refuses what nobody asked, or not any more", async () => {
      const { id, lease } = await asking();
      for (const seq of [1, 2, 3, 5, 99]) {
        await refused(store.answer(id, answerTo(seq)), "WRONG_STATE");
      }
      await store.append(lease, [topic(5, "agent.turn")]);
      await refused(store.answer(id, answerTo(4)), "WRONG_STATE");
      await refused(store.answer("job_none", answerTo(4)), "NOT_FOUND");
      const other = await asking();
      await store.finish(other.lease, 5, result());
      await refused(store.answer(other.id, answerTo(4)), "WRONG_STATE");
    });

    it("takes the answer to a question while no runner has the job, and to a later one", async () => {
      const { id, lease } = await asking();
      await store.release(lease, "the runner went");
      await store.answer(id, answerTo(4));
      const again = await hold(store);
      expect(again.id).to.equal(id);
      expect((await store.renew([again.lease], longMs))[0]?.answer?.questionSeq).to.equal(4);
      const seq = again.nextSeq;
      await store.append(again.lease, [
        topic(seq, "agent.answer"),
        topic(seq + 1, "agent.question"),
      ]);
      await store.answer(id, answerTo(seq + 1, { stop: true }));
      const [state] = await store.renew([again.lease], longMs);
      expect(state?.answer).to.deep.equal(answerTo(seq + 1, { stop: true }));
    });

    it("lets one of many different answers win", async () => {
      const { id } = await asking();
      const other = await bed.again();
      const tries = Array.from({ length: 12 }, (_, i) =>
        reasonOf((i % 2 ? store : other).answer(id, answerTo(4, { moreSteps: i + 1 }))),
      );
      const reasons = await Promise.all(tries);
      expect(reasons.filter((reason) => reason === "ok")).to.have.length(1);
      expect(new Set(reasons)).to.deep.equal(new Set(["ok", "WRONG_STATE"]));
    });
  });
}
