/** Agents of other makers as data: how they are started, what their events tell, where they lie. */
import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { AgentHarness } from "@devmesh/gen/devmesh/api/v1/agent_work_pb";
import { DevmeshError } from "@devmesh/mesh/errors";
import { expect } from "chai";
import fc from "fast-check";
import { codex } from "../../services/vm/harnesses/codex.ts";
import { command } from "../../services/vm/harnesses/command.ts";
import { harnessOf } from "../../services/vm/harnesses/harnesses.ts";
import { findInstalled } from "../../services/vm/harnesses/installed.ts";
import { opencode } from "../../services/vm/harnesses/opencode.ts";
import { tempFolder } from "../sdk/temp-folder.ts";

const task = {
  task: "fix it",
  prompt: "fix it, please",
  model: "scripted/replay",
  argv: [],
  baseUrl: "http://127.0.0.1:7107/v1",
  token: "dm_secret",
};

/** What a reader makes of events. */
function tell(harness: typeof codex, events: object[], exitCode = 0) {
  const reader = harness.reader();
  const notes = events.flatMap((event) => reader.take(JSON.stringify(event)) ?? []);
  return { notes, usage: reader.usage, report: reader.report(exitCode) };
}

describe("harnesses", () => {
  it("are found by their name in the contract", () => {
    expect(harnessOf(AgentHarness.UNSPECIFIED)).to.equal(undefined);
    expect(harnessOf(AgentHarness.CODER)).to.equal(undefined);
    expect(harnessOf(AgentHarness.CODEX)?.name).to.equal("codex");
    expect(harnessOf(AgentHarness.OPENCODE)?.name).to.equal("opencode");
    expect(harnessOf(AgentHarness.COMMAND)?.name).to.equal("command");
  });

  it("show the job's token in the environment only", () => {
    for (const harness of [codex, opencode, command]) {
      const { argv, env } = harness.exec({ ...task, argv: ["agent", "{task}"] });
      expect(argv.join(" "), harness.name).to.not.contain("dm_secret");
      const holders = Object.keys(env).filter((name) => env[name]?.includes("dm_secret"));
      expect(holders, harness.name).to.deep.equal(["OPENAI_API_KEY"]);
    }
  });

  it("take a task for no option", () => {
    for (const harness of [codex, opencode]) {
      const { argv } = harness.exec({ ...task, prompt: "--help", argv: ["--own"] });
      expect(argv.slice(-2), harness.name).to.deep.equal(["--", "--help"]);
      expect(argv.indexOf("--own"), harness.name).to.be.within(1, argv.length - 3);
    }
  });

  it("put the task where a command wants it, as it is", () => {
    const tricky = "$& {task} $1";
    const { argv, env } = command.exec({ ...task, task: tricky, argv: ["run", "-t={task}", "x"] });
    expect(argv).to.deep.equal(["run", `-t=${tricky}`, "x"]);
    expect(env).to.include({ DEVMESH_TASK: tricky, OPENAI_BASE_URL: task.baseUrl });
    for (const wrong of [[], [""]]) {
      expect(() => command.exec({ ...task, argv: wrong }))
        .to.throw(DevmeshError)
        .with.nested.property("metadata.field", "agent.harness_argv");
    }
  });

  it("are finished when the program ends well, and not else, for commands", () => {
    expect(command.reader().report(0).finished).to.equal(true);
    expect(command.reader().report(3)).to.include({ finished: false });
  });
});

describe("codex's events", () => {
  const ran = {
    type: "item.completed",
    item: {
      id: "item_1",
      type: "command_execution",
      command: "/bin/sh -c 'node --test'",
      aggregated_output: "ok\n",
      exit_code: 1,
      status: "failed",
    },
  };
  const said = { type: "item.completed", item: { type: "agent_message", text: "Done." } };
  const done = { type: "turn.completed", usage: { input_tokens: 30, output_tokens: 4 } };

  it("become notes, and a report when the turn is complete", () => {
    const change = { path: "/work/a.ts", kind: "update" };
    const changed = { type: "file_change", changes: [change], status: "completed" };
    const { notes, report, usage } = tell(codex, [
      { type: "thread.started", thread_id: "t" },
      { type: "turn.started" },
      { type: "item.started", item: { type: "command_execution" } },
      ran,
      { type: "item.completed", item: changed },
      said,
      done,
    ]);
    expect(notes).to.deep.equal([
      {
        level: "warn",
        topic: "agent.call",
        message: "/bin/sh -c 'node --test'",
        payload: {
          tool: "command_execution",
          status: "failed",
          exitCode: 1,
          command: "/bin/sh -c 'node --test'",
          output: "ok\n",
        },
      },
      {
        level: "info",
        topic: "agent.call",
        message: "changed /work/a.ts",
        payload: { tool: "file_change", status: "completed", changes: [change] },
      },
      { level: "info", topic: "agent.turn", message: "Done." },
    ]);
    expect(usage).to.deep.equal({ steps: 3, inputTokens: 30, outputTokens: 4 });
    const commands = [{ command: "/bin/sh -c 'node --test'", exitCode: 1, ms: 0 }];
    expect(report).to.deep.equal({ summary: "Done.", finished: true, message: "", commands });
  });

  it("are no success without a complete turn, after a failed one, or with another status", () => {
    expect(tell(codex, [said]).report.finished).to.equal(false);
    expect(tell(codex, [said, done], 1).report.finished).to.equal(false);
    const failed = { type: "turn.failed", error: { message: "no model" } };
    expect(tell(codex, [failed]).report).to.include({ finished: false, message: "no model" });
  });
});

describe("opencode's events", () => {
  const step = (reason: string) => ({
    type: "step_finish",
    part: { reason, tokens: { input: 10, output: 2, reasoning: 1, cache: { read: 5, write: 0 } } },
  });
  const call = (state: object) => ({ type: "tool_use", part: { tool: "edit", state } });

  it("become notes, and a report once a step ends without calling tools", () => {
    const input = { filePath: "a.ts" };
    const state = {
      ...{ status: "completed", input: { command: "ls" }, output: "a.ts", title: "ls" },
      ...{ metadata: { exit: 0 }, time: { start: 100, end: 130 } },
    };
    const listed = { type: "tool_use", part: { tool: "bash", state } };
    const { notes, report, usage } = tell(opencode, [
      { type: "step_start", part: {} },
      call({ status: "completed", input, output: "applied", title: "a.ts" }),
      call({ status: "error", input, error: "no such text" }),
      listed,
      step("tool-calls"),
      { type: "text", part: { text: "Done." } },
      step("stop"),
    ]);
    const payload = { tool: "edit", input: JSON.stringify(input) };
    expect(notes).to.deep.equal([
      {
        ...{ level: "info", topic: "agent.call", message: "edit a.ts" },
        payload: { ...payload, status: "completed", output: "applied" },
      },
      {
        ...{ level: "warn", topic: "agent.call", message: `edit ${JSON.stringify(input)}` },
        payload: { ...payload, status: "error", output: "no such text" },
      },
      {
        ...{ level: "info", topic: "agent.call", message: "bash ls" },
        payload: { tool: "bash", status: "completed", input: '{"command":"ls"}', output: "a.ts" },
      },
      { level: "info", topic: "agent.turn", message: "Done." },
    ]);
    expect(usage).to.deep.equal({ steps: 2, inputTokens: 30, outputTokens: 6 });
    const commands = [{ command: "ls", exitCode: 0, ms: 30 }];
    expect(report).to.deep.equal({ summary: "Done.", finished: true, message: "", commands });
  });

  it("are no success where the last step called tools, or something failed", () => {
    expect(tell(opencode, []).report.finished).to.equal(false);
    expect(tell(opencode, [step("tool-calls")]).report.finished).to.equal(false);
    const error = { name: "APIError", data: { message: "refused" } };
    const { report, notes } = tell(opencode, [step("stop"), { type: "error", error }]);
    expect(report).to.include({ finished: false, message: "refused" });
    expect(notes).to.deep.equal([{ level: "error", topic: "agent", message: "refused" }]);
  });
});

describe("events that are none", () => {
  it("stay in the log", () => {
    for (const harness of [codex, opencode]) {
      const reader = harness.reader();
      for (const line of ["", "text", "{", "[]", '{"type":"other"}', "{}", "\u001b[2J"]) {
        expect(reader.take(line), line).to.equal(undefined);
      }
    }
  });

  it("never break a reader", () => {
    const types = ["item.completed", "turn.completed", "turn.failed", "tool_use", "step_finish"];
    const fields = ["type", "item", "part", "usage", "error", "tokens", "state", "text", "changes"];
    const value = fc.oneof(
      fc.jsonValue(),
      fc.dictionary(fc.constantFrom(...fields), fc.jsonValue()),
    );
    const event = fc.record({
      ...{ type: fc.constantFrom(...types, "text", "error"), item: value, part: value },
      ...{ usage: value, error: value },
    });
    for (const harness of [codex, opencode]) {
      fc.assert(
        fc.property(fc.array(event), (events) => {
          const { usage } = tell(harness, events);
          expect(Number.isSafeInteger(usage.steps)).to.equal(true);
          expect(usage.inputTokens).to.be.at.least(0);
        }),
        { seed: 7, numRuns: 50 },
      );
    }
  });
});

describe("an agent's programs on this host", () => {
  it("are those of the newest version that can be run", async () => {
    using folder = tempFolder({});
    const put = (version: string, mode: number) => {
      const bin = join(folder.path, `harness-codex-${version}`, "bin");
      mkdirSync(bin, { recursive: true });
      writeFileSync(join(bin, "codex"), "");
      chmodSync(join(bin, "codex"), mode);
      return bin;
    };
    put("0.9.0", 0o755);
    const newest = put("0.10.0", 0o755);
    put("0.11.0", 0o644);
    put("0.12.0.ab12.tmp", 0o755);
    expect(await findInstalled(folder.path, "codex")).to.deep.equal({
      folder: newest,
      version: "0.10.0",
    });
  });

  it("are refused with the remedy where there are none", async () => {
    using folder = tempFolder({});
    for (const path of [folder.path, join(folder.path, "nowhere")]) {
      const refusal = await findInstalled(path, "opencode").catch((error) => error);
      expect(refusal).to.be.instanceOf(DevmeshError);
      expect(refusal.reason).to.equal("UNAVAILABLE");
      expect(refusal.message).to.contain("npm run setup -- opencode");
    }
  });
});
