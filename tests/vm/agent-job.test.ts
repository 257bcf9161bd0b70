/** Jobs of the agent: its report, its tests, its input, and the ways it can end. */
import { JobStatus } from "@devmesh/gen/devmesh/api/v1/job_status_pb";
import { expect } from "chai";
import type { FakeProgram } from "../../services/vm/drivers/fake.ts";
import { Bed } from "./bed.ts";

const { SUCCEEDED, FAILED, CANCELLED } = JobStatus;
const record = (value: unknown) => `\x1e${JSON.stringify(value)}\n`;
const report = { type: "report", finished: true, summary: "done", steps: 2, message: "" };

/** An agent that writes this to its standard error. */
function agent(stderr: string, code = 0): FakeProgram {
  return async ({ write, files }) => {
    await write("stdout", "thinking\n");
    await write("stderr", stderr);
    files.write("/work/answer", Buffer.from("42\n"));
    return code;
  };
}

describe("agent job", () => {
  let bed: Bed;
  beforeEach(async () => {
    bed = await Bed.open();
  });
  afterEach(() => bed.close());

  async function run(
    node: FakeProgram,
    testArgv: string[] = [],
    more: Record<string, FakeProgram> = {},
  ) {
    const { driver } = bed.start();
    Object.assign(driver.programs, { node, ...more });
    const id = await bed.submit({ work: { case: "agent", value: { task: "answer", testArgv } } });
    return { driver, ...(await bed.ended(id, { timePasses: true })) };
  }

  it("ends well with a report, its notes among the events and out of the log", async () => {
    const note = record({ type: "note", level: "info", topic: "agent.step", message: "step 1" });
    const { id, status, result } = await run(agent(`${note}${record(report)}`));
    expect(status).to.equal(SUCCEEDED);
    expect(result?.agent).to.deep.include({ summary: "done", steps: 2, testsAfter: "" });
    expect(result?.agent?.patch).to.contain("+42");
    expect(await bed.log(id)).to.equal("thinking\n");
    const notes = (await bed.events(id)).flatMap(({ kind }) =>
      kind.case === "note" ? [kind.value.message] : [],
    );
    expect(notes).to.include("step 1");
  });

  it("goes on without context when the plane is away, and says so", async () => {
    const { id, driver } = await run(agent(record(report)));
    const notes = (await bed.events(id)).flatMap(({ kind }) =>
      kind.case === "note" && kind.value.topic === "context" ? [kind.value.level] : [],
    );
    expect(notes).to.deep.equal(["warn"]);
    expect(driver.created[0]?.doors.map(({ name }) => name)).to.deep.equal(["backend"]);
  });

  it("gets its task by its standard input", async () => {
    let input: unknown;
    const { driver } = bed.start();
    driver.programs.node = (context) => {
      input = JSON.parse(Buffer.from(context.input).toString());
      expect(context.env.DEVMESH_AGENT_INPUT).to.equal("-");
      return agent(record(report))(context);
    };
    await bed.ended(await bed.submit({ work: { case: "agent", value: { task: "answer" } } }), {
      timePasses: true,
    });
    expect(input).to.deep.include({ task: "answer", model: "coding", maxSteps: 40 });
  });

  it("fails without a report", async () => {
    const { status, result } = await run(agent("just words\n"));
    expect([status, result?.reason]).to.deep.equal([FAILED, "EXIT_STATUS"]);
    expect(result?.message).to.contain("without a report");
  });

  it("tells a limit from another failure", async () => {
    const stopped = { ...report, finished: false, stopped: "steps", message: "too many steps" };
    const { result } = await run(agent(record(stopped), 1));
    expect(result).to.deep.include({ reason: "LIMIT", message: "too many steps", exitCode: 1 });
  });

  it("fails when the tests fail after the work", async () => {
    const { status, result } = await run(agent(record(report)), ["tests"], {
      tests: async () => 1,
    });
    expect(status).to.equal(FAILED);
    expect(result?.agent).to.deep.include({ testsBefore: "failed", testsAfter: "failed" });
  });

  it("may be asked to write the test command that is not there yet", async () => {
    const { driver } = bed.start();
    driver.programs.node = async (context) => {
      driver.programs.tests = async () => 0;
      return agent(record(report))(context);
    };
    const work = { case: "agent" as const, value: { task: "answer", testArgv: ["tests"] } };
    const { status, result } = await bed.ended(await bed.submit({ work }), { timePasses: true });
    expect(status).to.equal(SUCCEEDED);
    expect(result?.agent).to.deep.include({ testsBefore: "failed", testsAfter: "passed" });
  });

  it("is cancelled while it works, and its tests are not run after", async () => {
    const { driver } = bed.start();
    let tests = 0;
    driver.programs.node = (context) => driver.programs.sleep?.(context) ?? Promise.resolve(0);
    driver.programs.tests = async () => {
      tests += 1;
      return 0;
    };
    const work = { case: "agent" as const, value: { task: "answer", testArgv: ["tests"] } };
    const id = await bed.submit({ work });
    await bed.until(() => tests === 1 && driver.list().length === 1, { timePasses: true });
    await bed.jobs.cancelJob({ id });
    expect((await bed.ended(id, { timePasses: true })).status).to.equal(CANCELLED);
    expect(tests).to.equal(1);
  });

  it("fails when a protected file was changed, by whatever it was", async () => {
    const { driver } = bed.start();
    driver.programs.node = async (context) => {
      context.files.write("/work/tests/.hidden", Buffer.from("changed\n"));
      return agent(record(report))(context);
    };
    const value = { task: "answer", protectedPaths: ["tests/**", "*.lock"] };
    const id = await bed.submit({ work: { case: "agent", value } });
    const { status, result } = await bed.ended(id, { timePasses: true });
    expect([status, result?.message]).to.deep.equal([
      FAILED,
      "protected files were changed: tests/.hidden",
    ]);
  });

  it("keeps a patch with wide characters within the contract", async () => {
    const { status, result } = await run(async (context) => {
      context.files.write("/work/wide", Buffer.from("日本語\n".repeat(60_000)));
      return agent(record(report))(context);
    });
    expect(status).to.equal(SUCCEEDED);
    expect(Buffer.byteLength(result?.agent?.patch ?? "")).to.be.within(250_000, 262_144);
  });
});
