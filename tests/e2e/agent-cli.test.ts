/** `devmesh agent` as people use it: its events as JSON, its changes applied or told, its questions answered. */
import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import { jsonLines, runCli } from "../cli/run-cli.ts";
import { type TempFolder, tempFolder } from "../sdk/temp-folder.ts";
import { type RecordedTask, recordedTasks, tasksFolder } from "./agent-task.ts";
import { startUp, type Up, untilRunner } from "./up.ts";

describe("devmesh agent", function () {
  this.timeout(180_000);
  const data = tempFolder();
  let copy: TempFolder;
  let up: Up;

  before(async () => {
    up = await startUp({ dataDir: data.path, env: { SCRIPTED_PATH: tasksFolder } });
    await untilRunner(up);
  });
  after(async () => {
    await up.stop();
    data[Symbol.dispose]();
  });
  beforeEach(() => {
    copy = tempFolder();
  });
  afterEach(() => copy[Symbol.dispose]());

  function taskOf(name: string): RecordedTask {
    const task = recordedTasks().find((one) => one.name === name);
    if (task === undefined) throw new Error(`no task ${name}`);
    cpSync(task.workspace, copy.path, { recursive: true });
    return task;
  }

  const cli = (args: readonly string[], onErr?: (text: string) => void) =>
    runCli(args, {
      env: { DEVMESH_URL: up.url, DEVMESH_TOKEN: up.token },
      ...(onErr && { onErr }),
    });

  const read = (name: string) => readFileSync(join(copy.path, name), "utf8");

  it("does a task on a folder and applies what it changed", async () => {
    const { task, model = "" } = taskOf("protected-test");
    const { code, out } = await cli([
      ...["agent", task, "--workspace", copy.path, "--model", model, "--test", "node --test"],
      ...["--protect", "test/**", "--max-cost", "0.50", "--apply", "--json"],
    ]);
    const lines = jsonLines(out);
    const result = lines.find(({ type }) => type === "result");
    expect(code, JSON.stringify(result)).to.equal(0);
    expect(result).to.deep.include({ type: "result", outcome: "JOB_STATUS_SUCCEEDED" });
    expect(result?.agent).to.deep.include({ testsBefore: "failed", testsAfter: "passed" });
    expect(result?.agent).to.have.property("commands").with.length(2);
    expect(read("src/discount.js")).to.include("/ 100");
  });

  it("writes nothing over what changed meanwhile, and names it", async () => {
    const { task, model = "" } = taskOf("several-files");
    let isChanged = false;
    const { code, err } = await cli(
      [
        ...["agent", task, "--workspace", copy.path, "--model", model],
        ...["--test", "node --test", "--apply"],
      ],
      (text) => {
        // The archive is on its way already: what changes now, changes meanwhile.
        if (isChanged || !/job .*job_/.test(text)) return;
        isChanged = true;
        writeFileSync(join(copy.path, "src/format.js"), "// somebody else was here\n");
      },
    );
    expect(code, err).to.equal(5);
    expect(err).to.include("nothing is applied: changed since the job began: src/format.js");
    expect(err).to.include("WORKSPACE_CONFLICT").and.to.include("changes.patch");
    expect(read("src/format.js")).to.equal("// somebody else was here\n");
    expect(read("src/convert.js")).to.include("(celsius * 5) / 9");
  });

  it("is answered from another terminal", async () => {
    const { task, model = "" } = taskOf("budget-ask");
    let answered: ReturnType<typeof cli> | undefined;
    const { code, err } = await cli(
      [
        ...["agent", task, "--workspace", copy.path, "--model", model, "--test", "node --test"],
        ...["--max-steps", "3", "--on-budget-end", "ask"],
      ],
      (text) => {
        const id = /job_[0-9A-Za-z]+/.exec(text)?.[0];
        if (answered !== undefined || id === undefined || !text.includes("[agent.question]"))
          return;
        answered = cli(["jobs", "answer", id, "--more-steps", "5", "-m", "Prove it, please."]);
      },
    );
    expect(code, err).to.equal(0);
    expect(await answered).to.include({ code: 0, err: "" });
    expect(err).to.include("[agent.answer] the agent goes on");
  });

  it("says what is wrong with an answer, a budget or a tool", async () => {
    const cases: readonly [readonly string[], number, string][] = [
      [["jobs", "answer", "job_1"], 2, "the answer is missing"],
      [["jobs", "answer", "job_1", "--stop", "--more-steps", "1"], 2, "contradict each other"],
      [["jobs", "answer", "job_1", "--more-steps", "0"], 2, "from 1 to 1000"],
      [["jobs", "answer", "job_1", "--more-cost", "cheap"], 2, "is not an amount"],
      [["jobs", "answer", "job_none", "--question", "3", "--stop"], 4, "NOT_FOUND"],
      [["agent", "x", "--max-cost", "-1"], 2, "max-cost"],
      [["agent", "x", "--on-budget-end", "cry"], 2, "is not one of stop, ask"],
      [["agent", "x", "--tool", "Rm -rf"], 2, "tools"],
    ];
    for (const [args, status, words] of cases) {
      const { code, err } = await cli(args);
      expect([code, err.includes(words)], `${args.join(" ")}: ${err}`).to.deep.equal([
        status,
        true,
      ]);
    }
  });

  it("refuses a tool that there is not, and a model that is too small, by name", async () => {
    const tool = await cli(["agent", "x", "--model", "scripted/tasks", "--tool", "teleport"]);
    expect([tool.code, tool.err]).to.satisfy(
      ([code, err]: [number, string]) => code === 2 && err.includes("spec.agent.tools[0]"),
      tool.err,
    );
  });
});
