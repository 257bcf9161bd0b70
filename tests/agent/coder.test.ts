/** The loop: every way in which it ends, and what the model is told on the way. */
import { join } from "node:path";
import { expect } from "chai";
import { Coder } from "../../agents/coder/src/coder.ts";
import { Conversation } from "../../agents/coder/src/conversation.ts";
import { type AgentInput, parseInput } from "../../agents/coder/src/input.ts";
import { ModelError } from "../../agents/coder/src/model/model-error.ts";
import { Records, type Report } from "../../agents/coder/src/records.ts";
import { Jail } from "../../agents/coder/src/tools/jail.ts";
import { Toolbox } from "../../agents/coder/src/tools/toolbox.ts";
import { Transcript } from "../../agents/coder/src/transcript.ts";
import { callOf, type FakeAnswer, FakeClock, FakeModel, hang, turnOf } from "./fake-model.ts";
import { untilFile, untilGone } from "./processes.ts";
import { TempFolders } from "./temp-folder.ts";

describe("coder", () => {
  const folders = new TempFolders();
  let clock: FakeClock;
  let stop: AbortController;
  let lines: string;
  let records: string;

  beforeEach(() => {
    clock = new FakeClock();
    stop = new AbortController();
    lines = "";
    records = "";
  });
  afterEach(() => folders.clear());

  async function play(
    answers: readonly FakeAnswer[],
    limits: Partial<AgentInput> = {},
  ): Promise<{ readonly report: Report; readonly model: FakeModel }> {
    const model = new FakeModel(answers);
    const input = { ...parseInput({ task: "do it" }), ...limits };
    const jail = await Jail.open(await folders.make());
    const noted = new Records({
      out: (text) => {
        lines += text;
      },
      err: (text) => {
        records += text;
      },
      secrets: ["secret-token"],
    });
    const coder = new Coder({
      input,
      model,
      toolbox: new Toolbox({ jail, env: process.env, allowed: input.tools }),
      conversation: new Conversation({
        system: "system",
        user: "do it",
        maxBytes: input.maxContextBytes,
      }),
      records: noted,
      transcript: new Transcript(noted),
      clock,
      contextTokens: 0,
    });
    return { report: await coder.run(stop.signal), model };
  }

  const list = callOf("list_files", {});
  const finish = callOf("finish", { summary: "it is done" });

  it("finishes with the model's summary and the sums of its usage", async () => {
    const { report, model } = await play([list, finish]);
    expect(report).to.deep.equal({
      summary: "it is done",
      steps: 2,
      inputTokens: 20,
      outputTokens: 2,
      model: "fake/model",
      finished: true,
      stopped: "",
      message: "",
      reason: "",
      costMicros: 0,
      unpricedSteps: 2,
      used: 0,
      limit: 0,
      commands: [],
    });
    expect(model.questions[1]?.messages.slice(2)).to.deep.equal([
      {
        role: "assistant",
        content: null,
        tool_calls: [
          { id: "call", type: "function", function: { name: "list_files", arguments: "{}" } },
        ],
      },
      { role: "tool", tool_call_id: "call", content: ".: is empty" },
    ]);
  });

  it("does several calls of one turn in order and stops at finish", async () => {
    const write = { id: "", name: "write_file", arguments: '{"path":"f","content":"x"}' };
    const read = { id: "", name: "read_file", arguments: '{"path":"f"}' };
    const last = { id: "", name: "finish", arguments: '{"summary":"done"}' };
    const { report, model } = await play([
      turnOf({ calls: [write, read] }),
      turnOf({ calls: [read, last, write] }),
    ]);
    expect(report).to.include({ finished: true, summary: "done", steps: 2 });
    const results = model.questions[1]?.messages.slice(3);
    expect(results).to.deep.equal([
      { role: "tool", tool_call_id: "call_1_0", content: "f: written, 1 bytes" },
      { role: "tool", tool_call_id: "call_1_1", content: "1: x" },
    ]);
    expect(lines.match(/> write_file/g)).to.have.length(1);
  });

  it("stops at the limit of turns, with the last words as summary", async () => {
    const { report } = await play([turnOf({ ...list, text: "I look." })], { maxSteps: 3 });
    expect(report).to.deep.include({
      steps: 3,
      finished: false,
      stopped: "steps",
      summary: "I look.",
      message: "the limit of 3 model turns is reached",
    });
  });

  it("stops at the limit of tokens and bounds the single answer near it", async () => {
    const { report, model } = await play([list], { maxTokens: 25 });
    expect(report).to.include({ steps: 3, stopped: "tokens", inputTokens: 30, outputTokens: 3 });
    expect(model.questions.map(({ maxTokens }) => maxTokens)).to.deep.equal([25, 14, 3]);
    const far = await play([finish]);
    expect(far.model.questions[0]?.maxTokens).to.equal(0);
  });

  it("a turn that finishes counts as finished, also at the limit", async () => {
    const { report } = await play([finish], { maxSteps: 1, maxTokens: 1 });
    expect(report).to.include({ finished: true, stopped: "" });
  });

  it("stops at the limit of time while the model is silent", async () => {
    const late: FakeAnswer = (question, signal) => {
      const answer = hang(question, signal);
      clock.limit.abort();
      return answer;
    };
    const { report } = await play([list, late]);
    expect(report).to.include({ steps: 1, stopped: "time", finished: false });
    expect(report.message).to.equal("the limit of 1700 s is reached");
  });

  it("ends the program that runs when its time is up", async () => {
    const scratch = await folders.make();
    const argv = ["sh", "-c", 'sleep 1000 & echo $! > "$0"; wait', join(scratch, "pid")];
    const playing = play([callOf("run", { argv })]);
    const pid = Number(await untilFile(join(scratch, "pid")));
    clock.limit.abort();
    expect((await playing).report).to.include({ steps: 1, stopped: "time" });
    await untilGone(pid);
  }).timeout(20_000);

  it("stops from outside, with the reason", async () => {
    const asked: FakeAnswer = (question, signal) => {
      const answer = hang(question, signal);
      stop.abort(new Error("stopped by SIGTERM"));
      return answer;
    };
    const { report } = await play([asked]);
    expect(report).to.include({ stopped: "error", message: "stopped by SIGTERM" });
  });

  it("answers wrong calls, and gives up after five in a row", async () => {
    const wrong = callOf("read_file", '{"path": ');
    const four = await play([wrong, callOf("nothing", {}), wrong, wrong, list, wrong, finish]);
    expect(four.report).to.include({ finished: true, steps: 7 });
    expect(JSON.stringify(four.model.questions[2]?.messages))
      .to.include("error: the arguments are not valid JSON")
      .and.to.include("there is no tool");
    const five = await play([wrong]);
    expect(five.report).to.include({ steps: 5, stopped: "error", finished: false });
    expect(five.report.message).to.include("5 wrong tool calls in a row");
  });

  it("failures of tools are not wrong calls", async () => {
    const missing = callOf("read_file", { path: "none" });
    const { report } = await play([missing, missing, missing, missing, missing, missing, finish]);
    expect(report).to.include({ finished: true, steps: 7 });
  });

  it("nudges a model that calls no tool twice, then stops honestly", async () => {
    const words = turnOf({ text: "All is well." });
    const silent = await play([words]);
    expect(silent.report).to.deep.include({
      steps: 3,
      finished: false,
      stopped: "error",
      summary: "All is well.",
      message: "the model called no tool 3 times in a row",
    });
    expect(silent.model.questions[1]?.messages.at(-1)?.content).to.include("You called no tool");
    const nudged = await play([words, words, list, words, words, finish]);
    expect(nudged.report).to.include({ finished: true, steps: 6 });
    const cut = await play([turnOf({ cut: true }), finish]);
    expect(cut.model.questions[1]?.messages.slice(-2)).to.deep.include.members([
      { role: "assistant", content: "(nothing)" },
    ]);
    expect(cut.model.questions[1]?.messages.at(-1)?.content).to.include("length limit");
  });

  it("offers only the tools that are allowed, and finish", async () => {
    const { report, model } = await play([callOf("run", { argv: ["true"] }), finish], {
      tools: ["read_file"],
    });
    expect(report.finished).to.equal(true);
    const names = model.questions[0]?.tools.map((tool) => tool.function.name);
    expect(names).to.deep.equal(["read_file", "finish"]);
    expect(model.questions[1]?.messages.at(-1)?.content).to.include('there is no tool "run"');
  });

  it("ends with a clear report when the model cannot be asked", async () => {
    const budget = new ModelError("the backend answered 429 BUDGET_EXCEEDED: the budget is spent", {
      reason: "BUDGET_EXCEEDED",
      retryable: false,
    });
    const { report } = await play([list, budget]);
    expect(report).to.include({ steps: 1, stopped: "error", message: budget.message });
    const strange = await play([new TypeError("x is not a function")]);
    expect(strange.report.message).to.equal("internal error: x is not a function");
  });

  it("shortens old results once if the conversation is too long for the model", async () => {
    const tooLong = new ModelError("too long", { reason: "CONTEXT_LENGTH", retryable: false });
    const argv = ["node", "-e", "console.log('x'.repeat(5000))"];
    const big = callOf("run", { argv });
    const { report, model } = await play([big, list, list, tooLong, finish]);
    expect(report.finished).to.equal(true);
    const size = (index: number) => JSON.stringify(model.questions[index]?.messages).length;
    expect(size(3)).to.be.greaterThan(5000);
    expect(size(4)).to.be.below(2500);
    const hopeless = await play([tooLong]);
    expect(hopeless.report).to.include({ stopped: "error", message: "too long", steps: 0 });
    expect(hopeless.model.questions).to.have.length(1);
  }).timeout(20_000);

  it("keeps the token out of lines, records and what the model reads", async () => {
    const echo = callOf("run", { argv: ["echo", "the secret-token is"] });
    const { model } = await play([echo, finish]);
    expect(model.questions[1]?.messages.at(-1)?.content).to.include("the [secret] is");
    expect(lines + records).not.to.include("secret-token");
  });
});
