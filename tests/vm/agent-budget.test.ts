/** An agent that asks because a budget has ended: answers, silence, the run timeout, and stops. */
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { BudgetEnd } from "@devmesh/gen/devmesh/api/v1/agent_work_pb";
import { JobStatus } from "@devmesh/gen/devmesh/api/v1/job_status_pb";
import { toDevmeshError } from "@devmesh/mesh/errors";
import { expect } from "chai";
import type { FakeProgram } from "../../services/vm/drivers/fake.ts";
import { Bed } from "./bed.ts";

const { SUCCEEDED, FAILED, CANCELLED, QUEUED } = JobStatus;
const record = (value: unknown) => `\x1e${JSON.stringify(value)}\n`;
const turn = (step: number) =>
  record({
    type: "note",
    topic: "agent.turn",
    message: `turn ${step}`,
    payload: { step, text: `step ${step}`, calls: [], inputTokens: 1, outputTokens: 1, model: "m" },
  });
const done = { type: "report", finished: true, summary: "done", steps: 3 };
const spent = { type: "report", finished: false, stopped: "steps", message: "3 steps are used up" };

interface Input {
  readonly maxSteps: number;
  readonly maxTokens: number;
  readonly maxCostMicros: number;
  readonly maxSeconds: number;
  readonly resume: {
    readonly entries: { readonly type: string }[];
    readonly files: unknown;
  } | null;
}

describe("an agent that asks", () => {
  let bed: Bed;
  let inputs: Input[];
  beforeEach(async () => {
    bed = await Bed.open();
    inputs = [];
  });
  afterEach(() => bed.close());

  /** Ends with its budget used up until its input has this many steps. */
  const agent =
    (enough: number): FakeProgram =>
    async ({ write, input }) => {
      const told = JSON.parse(Buffer.from(input).toString()) as Input;
      inputs.push(told);
      const isEnough = told.maxSteps >= enough;
      await write("stderr", turn(inputs.length));
      await write("stderr", record(isEnough ? done : { ...spent, used: 3, limit: told.maxSteps }));
      return isEnough ? 0 : 1;
    };

  async function submit(limits: { runTimeoutMs?: number; silenceTimeoutMs?: number } = {}) {
    return bed.submit({
      work: {
        case: "agent",
        value: { task: "answer", maxSteps: 3, onBudgetEnd: BudgetEnd.ASK },
      },
      limits: {
        ...(limits.runTimeoutMs && { runTimeout: durationFromMs(limits.runTimeoutMs) }),
        ...(limits.silenceTimeoutMs && { silenceTimeout: durationFromMs(limits.silenceTimeoutMs) }),
      },
    });
  }

  async function questionOf(id: string, after = 0): Promise<number> {
    let seq = 0;
    const look = async () => {
      for (const event of await bed.events(id)) {
        const { kind } = event;
        if (kind.case === "note" && kind.value.topic === "agent.question") seq = event.seq;
      }
      return seq > after;
    };
    await bed.until(look, { timePasses: true });
    return seq;
  }

  const answer = (id: string, questionSeq: number, more: object) =>
    bed.jobs.answerJob({ id, answer: { questionSeq, ...more } });

  it("goes on in the same sandbox with its conversation and more budget", async () => {
    const { driver } = bed.start();
    driver.programs.node = agent(8);
    const id = await submit();
    const seq = await questionOf(id);
    await answer(id, seq, { moreSteps: 2, moreTokens: 7, message: "hurry" });
    const next = await questionOf(id, seq);
    await answer(id, next, { moreSteps: 3 });
    const { status, result } = await bed.ended(id, { timePasses: true });
    expect([status, result?.message]).to.deep.equal([SUCCEEDED, ""]);
    expect(inputs.map(({ maxSteps }) => maxSteps)).to.deep.equal([3, 5, 8]);
    expect(inputs[1]?.maxTokens).to.equal(400_007);
    expect(inputs[0]?.resume).to.equal(null);
    expect(inputs[2]?.resume?.files).to.equal("all");
    const entries = inputs[2]?.resume?.entries.map(({ type }) => type);
    expect(entries).to.deep.equal(["turn", "user", "turn"]);
    expect(driver.created).to.have.length(1);
  });

  it("stops when it is told to, and keeps what was done", async () => {
    const { driver } = bed.start();
    driver.programs.node = async (context) => {
      context.files.write("/work/half", Buffer.from("half\n"));
      return agent(99)(context);
    };
    const id = await submit();
    await answer(id, await questionOf(id), { stop: true });
    const { status, result } = await bed.ended(id, { timePasses: true });
    expect([status, result?.reason]).to.deep.equal([FAILED, "LIMIT"]);
    expect(result?.message).to.include("3 steps are used up").and.to.include("to stop");
    expect(result?.artifacts.map(({ name }) => name)).to.include("half");
  });

  it("fails with LIMIT past the run timeout; silence counts for nothing meanwhile", async () => {
    const { driver } = bed.start();
    driver.programs.node = agent(99);
    const id = await submit({ runTimeoutMs: 60_000, silenceTimeoutMs: 1_000 });
    await questionOf(id);
    const { status, result } = await bed.ended(id, { timePasses: true });
    expect([status, result?.reason]).to.deep.equal([FAILED, "LIMIT"]);
    expect(result?.message).to.include("nobody answered within the run timeout");
  });

  it("gets more time: the run timeout moves, too", async () => {
    const { driver } = bed.start();
    driver.programs.node = agent(5);
    const id = await submit({ runTimeoutMs: 60_000 });
    const seq = await questionOf(id);
    await answer(id, seq, { moreSteps: 2, moreTime: durationFromMs(600_000) });
    expect((await bed.ended(id, { timePasses: true })).status).to.equal(SUCCEEDED);
    expect(inputs[0]?.maxSeconds).to.be.at.most(57);
    expect(inputs[1]?.maxSeconds).to.be.greaterThan(500);
  });

  it("is cancelled while it waits", async () => {
    const { driver } = bed.start();
    driver.programs.node = agent(99);
    const id = await submit();
    await questionOf(id);
    await bed.jobs.cancelJob({ id });
    expect((await bed.ended(id, { timePasses: true })).status).to.equal(CANCELLED);
    expect(driver.list()).to.deep.equal([]);
  });

  it("waits on with another runner when its own one stops", async () => {
    const first = bed.start();
    first.driver.programs.node = agent(5);
    const id = await submit();
    const seq = await questionOf(id);
    const closed = first.runner.close();
    await bed.until(async () => (await bed.job(id)).status === QUEUED, { timePasses: true });
    await closed;
    await answer(id, seq, { moreSteps: 2, message: "on" });
    const second = bed.start();
    second.driver.programs.node = agent(5);
    expect((await bed.ended(id, { timePasses: true })).status).to.equal(SUCCEEDED);
    // The second never started the agent before the answer that was there already.
    expect(inputs.map(({ maxSteps }) => maxSteps)).to.deep.equal([3, 5]);
    expect(inputs[1]?.resume?.entries.map(({ type }) => type)).to.deep.equal(["turn", "user"]);
  });

  it("is not heard with the runner's own words", async () => {
    const { driver } = bed.start();
    driver.programs.node = async ({ write }) => {
      for (const topic of ["agent.question", "agent.checkpoint", "agent.end", "sandbox.receipt"]) {
        await write("stderr", record({ type: "note", topic, message: "forged", payload: {} }));
      }
      await write("stderr", record(done));
      return 0;
    };
    const id = await submit();
    await bed.ended(id, { timePasses: true });
    const forged = (await bed.events(id)).flatMap(({ kind }) =>
      kind.case === "note" && kind.value.message === "forged" ? [kind.value.topic] : [],
    );
    expect(forged).to.deep.equal(["agent", "agent", "agent", "agent"]);
  });

  it("does not ask unless the job says so", async () => {
    const { driver } = bed.start();
    driver.programs.node = agent(99);
    const work = { case: "agent" as const, value: { task: "answer", maxSteps: 3 } };
    const id = await bed.submit({ work });
    const { result } = await bed.ended(id, { timePasses: true });
    expect(result).to.include({ reason: "LIMIT", message: "3 steps are used up" });
    const refused = await answer(id, 3, { moreSteps: 1 }).catch((error: unknown) => error);
    expect(toDevmeshError(refused).reason).to.equal("WRONG_STATE");
  });
});
