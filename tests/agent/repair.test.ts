/** Calls as weak models write them: what is repaired, what is not guessed, and what is told. */
import { expect } from "chai";
import fc from "fast-check";
import type {
  Message,
  ModelQuestion,
  ToolDefinition,
} from "../../agents/coder/src/model/chat-model.ts";
import { ModelError } from "../../agents/coder/src/model/model-error.ts";
import { asText, readCalls } from "../../agents/coder/src/model/text-calls.ts";
import { ToolModel } from "../../agents/coder/src/model/tool-model.ts";
import { nearName } from "../../agents/coder/src/tools/near-name.ts";
import { readArguments } from "../../agents/coder/src/tools/repair-json.ts";
import { callOf, FakeModel, turnOf } from "./fake-model.ts";

describe("broken arguments", () => {
  const cases: readonly [string, unknown][] = [
    ['{"a": 1,}', { a: 1 }],
    ["{'a': 'it\\'s', b: [1, 2,],}", { a: "it's", b: [1, 2] }],
    ['```json\n{"a": "x"}\n```', { a: "x" }],
    ["{a: True, b: None, c: -1.5e3}", { a: true, b: null, c: -1500 }],
    ['{"a": "two\nlines"}', { a: "two\nlines" }],
    ['{"pattern": "\\d+\\."}', { pattern: "\\d+." }],
    ['{"a": 1 /* one */, // and\n "b": 2}', { a: 1, b: 2 }],
    ['"{\\"a\\": 1}"', { a: 1 }],
    ["", {}],
    ["{};", {}],
  ];
  for (const [text, value] of cases) {
    it(`reads ${JSON.stringify(text)}`, () => {
      expect(readArguments(text).value).to.deep.equal(value);
    });
  }

  it("guesses nothing that is cut off", () => {
    const whole = '{"path": "a", "list": [1, {"b": "c"}], "text": "end"}';
    for (let end = 1; end < whole.length; end++) {
      expect(() => readArguments(whole.slice(0, end)), whole.slice(0, end)).to.throw(SyntaxError);
    }
  });

  it("says where it stops reading", () => {
    expect(() => readArguments('{"a" 1}')).to.throw("a colon is missing (at character 6)");
    expect(() => readArguments('{"a": 1 "b": 2}')).to.throw("a comma is missing");
    expect(() => readArguments('{"a": b}')).to.throw('"b" is no value');
    expect(() => readArguments("[".repeat(200))).to.throw("nested too deeply");
  });

  it("property: JSON is read as JSON", () => {
    fc.assert(
      fc.property(fc.json(), (text) => {
        fc.pre(!text.trim().startsWith('"'));
        expect(readArguments(text)).to.deep.equal({ value: JSON.parse(text), repaired: false });
      }),
    );
  });

  it("property: whatever it is, it ends with a value or a SyntaxError", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        try {
          readArguments(`{${text}`);
        } catch (error) {
          expect(error).to.be.instanceOf(SyntaxError);
        }
      }),
    );
  });

  it("an argument of ten megabytes is read, or refused, in time that grows with it", () => {
    const text = "x".repeat(10 * 1024 * 1024);
    expect(readArguments(`{'a': '${text}'}`).value).to.deep.equal({ a: text });
    expect(() => readArguments(`{'a': '${text}`)).to.throw(SyntaxError);
  }).timeout(20_000);
});

describe("names that are near", () => {
  const known = ["list_files", "read_file", "search", "edit_file", "apply_patch", "run", "finish"];
  for (const [name, near] of [
    ["readFile", "read_file"],
    ["read_files", "read_file"],
    ["EditFile", "edit_file"],
    ["bash", "run"],
    ["str_replace", "edit_file"],
    ["serach", "search"],
    ["teleport", undefined],
    ["x".repeat(10_000), undefined],
  ] as const) {
    it(`${name.slice(0, 20)} means ${near}`, () => {
      expect(nearName(name, known)).to.equal(near);
    });
  }
});

describe("calls in plain text", () => {
  const block = (name: string, args: unknown) =>
    `\`\`\`tool\n${JSON.stringify({ name, arguments: args })}\n\`\`\``;

  it("are read from blocks, tags and JSON fences, in order", () => {
    const text = [
      "First I look.",
      block("read_file", { path: "a" }),
      '<tool_call>{"name": "run", "parameters": {"argv": ["ls"]}}</tool_call>',
      '```json\n{"tool": "finish", "args": {"summary": "x"}}\n```',
    ].join("\n\n");
    const { text: rest, calls } = readCalls(text);
    expect(rest).to.equal("First I look.");
    expect(calls.map(({ name, arguments: json }) => [name, JSON.parse(json)])).to.deep.equal([
      ["read_file", { path: "a" }],
      ["run", { argv: ["ls"] }],
      ["finish", { summary: "x" }],
    ]);
  });

  it("are not made of other blocks, and broken ones of ours are told", () => {
    const plain = '```json\n{"version": 1}\n```\n```js\nrun()\n```';
    expect(readCalls(plain)).to.deep.equal({ text: plain, calls: [] });
    const broken = readCalls('```tool\n{"name": "run", "arguments": {"argv": ["a\n```');
    expect(broken.calls).to.have.length(1);
    expect(broken.calls[0]?.name).to.equal("");
  });

  it("make a conversation without calls and tools, that alternates", () => {
    const tools: ToolDefinition[] = [
      { type: "function", function: { name: "run", description: "runs", parameters: {} } },
    ];
    const fn = (name: string, json: string) => ({ name, arguments: json });
    const messages: Message[] = [
      { role: "system", content: "rules" },
      { role: "user", content: "task" },
      {
        role: "assistant",
        content: "I run.",
        tool_calls: [
          { id: "1", type: "function", function: fn("run", '{"argv":["a"]}') },
          { id: "2", type: "function", function: fn("run", '{"argv":["b"]}') },
        ],
      },
      { role: "tool", tool_call_id: "1", content: "A" },
      { role: "tool", tool_call_id: "2", content: "B" },
    ];
    const told = asText(messages, tools);
    expect(told.map(({ role }) => role)).to.deep.equal(["system", "user", "assistant", "user"]);
    expect(told[0]?.content).to.include("rules").and.to.include("- run: runs");
    expect(told[2]?.content).to.include('{"name":"run","arguments":{"argv":["b"]}}');
    expect(told[3]?.content).to.equal("Result of run:\nA\n\nResult of run:\nB");
  });

  const question: ModelQuestion = {
    messages: [{ role: "system", content: "s" }],
    tools: [{ type: "function", function: { name: "run", description: "", parameters: {} } }],
    maxTokens: 0,
  };
  const signal = new AbortController().signal;

  it("are the way of a model that takes no tools", async () => {
    const refusal = new ModelError("ollama refused it: smol does not support tools", {
      reason: "INVALID_FIELD",
      retryable: false,
    });
    const why: string[] = [];
    const fake = new FakeModel([refusal, turnOf({ text: block("run", { argv: ["x"] }) })]);
    const onText = (text: string) => why.push(text);
    const model = new ToolModel({ model: fake, protocol: "auto", onText });
    const turn = await model.ask(question, signal);
    expect(turn.calls.map(({ name }) => name)).to.deep.equal(["run"]);
    expect(fake.questions.map(({ tools }) => tools.length)).to.deep.equal([1, 0]);
    expect([model.protocol, why]).to.deep.equal(["text", ["it takes no tools"]]);
  });

  it("are not the way where the protocol is native, or a refusal says something else", async () => {
    const native = new ToolModel({
      model: new FakeModel([turnOf({ text: block("run", {}) })]),
      protocol: "native",
      onText: () => expect.fail("it changed"),
    });
    expect((await native.ask(question, signal)).calls).to.deep.equal([]);
    const spent = new ModelError("the budget for tools is spent", {
      reason: "BUDGET_EXCEEDED",
      retryable: false,
    });
    const auto = new ToolModel({
      model: new FakeModel([spent, callOf("run", {})]),
      protocol: "auto",
      onText: () => expect.fail("it changed"),
    });
    const error = await auto.ask(question, signal).catch((thrown: unknown) => thrown);
    expect(error).to.equal(spent);
  });
});
