/** Jobs of agents of other makers: what they are given, what is told of them, the bounds that hold. */
import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { AgentHarness, type AgentWorkSchema } from "@devmesh/gen/devmesh/api/v1/agent_work_pb";
import { JobStatus } from "@devmesh/gen/devmesh/api/v1/job_status_pb";
import { expect } from "chai";
import type { FakeProgram } from "../../services/vm/drivers/fake.ts";
import { Bed } from "./bed.ts";

const { SUCCEEDED, FAILED, CANCELLED } = JobStatus;

type Work = MessageInitShape<typeof AgentWorkSchema>;

const lines = (...events: object[]) => events.map((event) => `${JSON.stringify(event)}\n`).join("");
const said = { type: "item.completed", item: { type: "agent_message", text: "All done." } };
const ran = {
  type: "item.completed",
  item: { type: "command_execution", command: "ls", exit_code: 0, status: "completed" },
};
const done = { type: "turn.completed", usage: { input_tokens: 7, output_tokens: 2 } };

describe("foreign agent job", () => {
  let bed: Bed;
  beforeEach(async () => {
    bed = await Bed.open();
  });
  afterEach(() => bed.close());

  /** Puts codex where the runner looks for it. */
  function install(): void {
    const bin = join(bed.harnessDir, "harness-codex-1.2.3", "bin");
    mkdirSync(bin, { recursive: true });
    writeFileSync(join(bin, "codex"), "");
    chmodSync(join(bin, "codex"), 0o755);
  }

  async function run(work: Work, programs: Record<string, FakeProgram>) {
    const { driver } = bed.start();
    Object.assign(driver.programs, programs);
    const value = { task: "answer", ...work };
    const id = await bed.submit({ work: { case: "agent", value } });
    return { driver, ...(await bed.ended(id, { timePasses: true })) };
  }

  async function notes(id: string): Promise<[string, string][]> {
    return (await bed.events(id)).flatMap(({ kind }) =>
      kind.case === "note" ? [[kind.value.topic, kind.value.message] as [string, string]] : [],
    );
  }

  const codex = (text: string, code = 0): FakeProgram => {
    return async ({ write, files }) => {
      await write("stderr", "starting\n");
      await write("stdout", text);
      files.write("/work/answer", Buffer.from("42\n"));
      return code;
    };
  };

  it("that writes many short lines has few events", async () => {
    install();
    const count = 20_000;
    const text = "y\n".repeat(count) + lines(said, done);
    const { id } = await run({ harness: AgentHarness.CODEX }, { sh: codex(text) });
    expect(await bed.log(id)).to.have.length("starting\n".length + 2 * count);
    const logs = (await bed.events(id)).filter(({ kind }) => kind.case === "log");
    expect(logs.length).to.be.below(50);
  });

  it("takes codex's events for notes and its report, and the rest for log", async () => {
    install();
    const text = `${lines({ type: "turn.started" }, ran)}no event\n${lines(said, done)}`;
    const work = { harness: AgentHarness.CODEX, testArgv: ["tests"] };
    const tests: FakeProgram = async ({ files }) => (files.mode("/work/answer") ? 0 : 1);
    const { id, status, result, driver } = await run(work, { sh: codex(text), tests });
    expect(result?.message).to.equal("");
    expect(status).to.equal(SUCCEEDED);
    expect(result?.agent).to.deep.include({
      ...{ summary: "All done.", steps: 2, inputTokens: 7n, outputTokens: 2n },
      ...{ testsBefore: "failed", testsAfter: "passed" },
    });
    expect(result?.agent?.patch).to.contain("+42");
    expect(await bed.log(id)).to.equal("starting\nno event\n");
    const told = (await notes(id)).filter(([topic]) => topic.startsWith("agent"));
    expect(told).to.deep.equal([
      ["agent.harness", "the work is done by codex 1.2.3"],
      ["agent.tests", "tests before the work: failed"],
      ["agent.call", "ls"],
      ["agent.turn", "All done."],
      ["agent.tests", "tests after the work: passed"],
    ]);
    const [spec] = driver.created;
    expect(spec?.doors).to.have.length(1);
    expect(spec?.doors[0]).to.include({ name: "backend", port: 7107 });
    expect(spec?.mounts.map(({ sandboxPath }) => sandboxPath)).to.deep.equal([
      "/opt/devmesh/bin/node",
      "/opt/devmesh/harness",
    ]);
  });

  it("gives any command the task, the models and the job's token", async () => {
    let env: Readonly<Record<string, string>> = {};
    let args: readonly string[] = [];
    const mine: FakeProgram = async (context) => {
      ({ env, argv: args } = context);
      await context.write("stdout", '{"type":"turn.completed"}\n');
      return 0;
    };
    const work = {
      ...{ harness: AgentHarness.COMMAND, harnessArgv: ["mine", "--do", "{task}"] },
      model: "scripted/replay",
    };
    const { id, status, driver } = await run(work, { mine });
    expect(status).to.equal(SUCCEEDED);
    expect(args).to.deep.equal(["mine", "--do", "answer"]);
    expect(env).to.include({
      ...{ OPENAI_BASE_URL: "http://127.0.0.1:7107/v1", OPENAI_MODEL: "scripted/replay" },
      DEVMESH_TASK: "answer",
    });
    expect(env.OPENAI_API_KEY).to.match(/^dm/);
    expect(await bed.log(id)).to.equal('{"type":"turn.completed"}\n');
    expect(driver.created[0]?.mounts).to.have.length(1);
  });

  it("fails with the program's status", async () => {
    const failed = await run(
      { harness: AgentHarness.COMMAND, harnessArgv: ["exit", "3"] },
      { exit: async () => 3 },
    );
    expect([failed.status, failed.result?.reason]).to.deep.equal([FAILED, "EXIT_STATUS"]);
    expect(failed.result).to.include({ exitCode: 3 });
  });

  it("fails without a complete turn", async () => {
    install();
    const half = await run({ harness: AgentHarness.CODEX }, { sh: codex(lines(said)) });
    expect([half.status, half.result?.reason]).to.deep.equal([FAILED, "EXIT_STATUS"]);
  });

  it("refuses an agent that is not on this host, with the remedy", async () => {
    const { driver, status, result } = await run({ harness: AgentHarness.OPENCODE }, {});
    expect([status, result?.reason]).to.deep.equal([FAILED, "UNAVAILABLE"]);
    expect(result?.message).to.contain("npm run setup -- opencode");
    expect(driver.created).to.deep.equal([]);
  });

  it("refuses bounds that it cannot hold, by name", async () => {
    install();
    const { CODEX, COMMAND } = AgentHarness;
    const rows: [Work, string][] = [
      [{ harness: CODEX, maxTokens: 5 }, "agent.max_tokens"],
      [{ harness: COMMAND, harnessArgv: ["true"], maxSteps: 5 }, "agent.max_steps"],
    ];
    for (const [work, field] of rows) {
      const { status, result } = await run(work, {});
      expect([status, result?.reason], field).to.deep.equal([FAILED, "INVALID_FIELD"]);
      expect(result?.message, field).to.contain(field);
    }
  });

  it("tells an agent which files must stay, and fails the job where they did not", async () => {
    let prompt = "";
    const careless: FakeProgram = async ({ env, files }) => {
      prompt = env.DEVMESH_PROMPT ?? "";
      files.write("/work/a.test.ts", Buffer.from("nothing to see\n"));
      return 0;
    };
    const work = { harness: AgentHarness.COMMAND, harnessArgv: ["careless"] };
    const { status, result } = await run({ ...work, protectedPaths: ["*.test.ts"] }, { careless });
    expect(prompt).to.contain("must stay as they are: *.test.ts");
    expect(status).to.equal(FAILED);
    expect(result?.message).to.contain("a.test.ts");
  });

  it("stops an agent that takes more steps than it may", async () => {
    install();
    const endless: FakeProgram = async ({ write, killed }) => {
      while (!killed.aborted) {
        await write("stdout", lines(ran));
        await new Promise((resolve) => setImmediate(resolve));
      }
      return 137;
    };
    const work = { harness: AgentHarness.CODEX, maxSteps: 3 };
    const { status, result } = await run(work, { sh: endless });
    expect([status, result?.reason]).to.deep.equal([FAILED, "LIMIT"]);
    expect(result?.message).to.contain("more than 3 steps");
    expect(result?.cancel).to.equal(undefined);
  });

  it("is cancelled while it works, and its tests are not run after", async () => {
    const { driver } = bed.start();
    let tests = 0;
    driver.programs.tests = async () => {
      tests += 1;
      return 0;
    };
    const harness = { harness: AgentHarness.COMMAND, harnessArgv: ["sleep"] };
    const value = { task: "answer", testArgv: ["tests"], ...harness };
    const id = await bed.submit({ work: { case: "agent", value } });
    await bed.until(() => tests === 1 && driver.list().length === 1, { timePasses: true });
    await bed.jobs.cancelJob({ id });
    expect((await bed.ended(id, { timePasses: true })).status).to.equal(CANCELLED);
    expect(tests).to.equal(1);
  });

  it("takes lines of any length and bytes of any kind", async () => {
    const noise: FakeProgram = async ({ write }) => {
      await write("stdout", Buffer.alloc(3 * 1024 * 1024, "x"));
      await write("stdout", Buffer.from([0xff, 0xfe, 0x0a, 0x1b, 0x5b, 0x32, 0x4a]));
      return 0;
    };
    install();
    const { result } = await run({ harness: AgentHarness.CODEX }, { sh: noise });
    expect(result?.logBytes).to.equal(BigInt(3 * 1024 * 1024 + 7));
  });
});
