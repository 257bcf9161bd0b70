/** The OpenAI dialect as data: what is understood, what is refused, and what comes back. */
import { create, toBinary } from "@bufbuild/protobuf";
import { createValidator } from "@bufbuild/protovalidate";
import { ChatDeltaSchema } from "@devmesh/gen/devmesh/inference/v1/chat_pb";
import {
  ChatRequestSchema,
  ChatResponseSchema,
} from "@devmesh/gen/devmesh/inference/v1/chat_service_pb";
import { DevmeshError } from "@devmesh/mesh/errors";
import { expect } from "chai";
import fc from "fast-check";
import {
  chunkWriter,
  toChatRequest,
  toCompletion,
} from "../../services/api/dialects/openai-convert.ts";

const messages = [{ role: "user", content: "hi" }];

function read(body: object) {
  return toChatRequest(Buffer.from(JSON.stringify({ messages, ...body })));
}

/** The field that a body is refused for. */
function refused(body: object): string | undefined {
  try {
    read(body);
    return undefined;
  } catch (error) {
    if (error instanceof DevmeshError) return error.metadata.field ?? error.reason;
    throw error;
  }
}

describe("openai dialect", () => {
  it("understands a conversation with tools", () => {
    const call = { id: "c1", type: "function", function: { name: "f", arguments: '{"a":1}' } };
    const { request } = read({
      model: "coding",
      messages: [
        { role: "developer", content: "be brief" },
        {
          role: "user",
          content: [
            { type: "text", text: "one " },
            { type: "text", text: "two" },
          ],
        },
        { role: "assistant", content: null, tool_calls: [call, { ...call, id: "c2" }] },
        { role: "tool", tool_call_id: "c1", content: "42" },
        { role: "tool", tool_call_id: "c2", content: "43" },
      ],
      tools: [{ type: "function", function: { name: "f", parameters: { type: "object" } } }],
    });
    const seen = request.messages.map(({ role, content, toolCalls, toolCallId }) => [
      role,
      content,
      toolCalls.map(({ id, name, arguments: args }) => [id, name, args]),
      toolCallId,
    ]);
    expect(seen).to.deep.equal([
      ["system", "be brief", [], ""],
      ["user", "one two", [], ""],
      [
        "assistant",
        "",
        [
          ["c1", "f", '{"a":1}'],
          ["c2", "f", '{"a":1}'],
        ],
        "",
      ],
      ["tool", "42", [], "c1"],
      ["tool", "43", [], "c2"],
    ]);
    expect(request.tools[0]).to.deep.include({ name: "f", parameters: { type: "object" } });
  });

  it("takes the ways to say one thing", () => {
    expect(read({ stop: "a" }).request.params?.stop).to.deep.equal(["a"]);
    expect(read({ stop: ["a", "b"] }).request.params?.stop).to.deep.equal(["a", "b"]);
    expect(read({ stop: null }).request.params?.stop).to.deep.equal([]);
    expect(read({ stop: "" }).request.params?.stop).to.deep.equal([]);
    expect(read({ max_tokens: 5 }).request.params?.maxTokens).to.equal(5);
    expect(read({ max_tokens: 5, max_completion_tokens: 6 }).request.params?.maxTokens).to.equal(6);
    expect(read({ seed: 7 }).request.params?.seed).to.equal(7n);
    expect(read({ temperature: 0 }).request.params?.temperature).to.equal(0);
    expect(read({}).request.params?.temperature).to.equal(undefined);
    expect(read({ stream: true, stream_options: { include_usage: true } })).to.deep.include({
      stream: true,
      includeUsage: true,
    });
  });

  it("offers no tools where none may be called", () => {
    const tools = [{ type: "function", function: { name: "f" } }];
    expect(read({ tools, tool_choice: "none" }).request.tools).to.deep.equal([]);
    expect(read({ tools, tool_choice: "auto" }).request.tools).to.have.length(1);
  });

  it("names the field that is wrong", () => {
    const rows: [object, string][] = [
      [{ messages: [] }, "messages"],
      [{ messages: "hi" }, "messages"],
      [{ messages: [1] }, "messages[0]"],
      [{ messages: [{ role: "user", content: 1 }] }, "messages[0].content"],
      [
        { messages: [{ role: "user", content: [{ type: "image_url" }] }] },
        "messages[0].content[0].type",
      ],
      [
        { messages: [{ role: "assistant", tool_calls: [{}] }] },
        "messages[0].tool_calls[0].function",
      ],
      [{ model: 1 }, "model"],
      [{ temperature: "hot" }, "temperature"],
      [{ max_tokens: 1.5 }, "max_tokens"],
      [{ max_tokens: -1 }, "max_tokens"],
      [{ max_tokens: 1e12 }, "max_tokens"],
      [{ seed: 1e300 }, "seed"],
      [{ n: 2 }, "n"],
      [{ stop: 1 }, "stop"],
      [{ stop: [1] }, "stop"],
      [{ stream: "yes" }, "stream"],
      [{ tools: [{ type: "custom" }] }, "tools[0].function"],
    ];
    for (const [body, field] of rows) expect(refused(body), JSON.stringify(body)).to.equal(field);
  });

  it("refuses what is no JSON object, or too deep to be walked", () => {
    const deep = `{"messages":[],"x":${"[".repeat(1_000)}${"]".repeat(1_000)}}`;
    for (const body of ["", "{", "[]", "null", "1", '"x"', "\ufeff{}", deep]) {
      expect(() => toChatRequest(Buffer.from(body)))
        .to.throw(DevmeshError)
        .with.property("reason", "MALFORMED_BODY");
    }
  });

  it("never throws anything but a refusal, and lets through only what can be sent on", () => {
    const validator = createValidator();
    const names = ["messages", "model", "tools", "stop", "seed", "max_tokens", "temperature", "n"];
    const inner = fc.dictionary(
      fc.constantFrom(
        "role",
        "content",
        "tool_calls",
        "function",
        "name",
        "type",
        "text",
        "parameters",
      ),
      fc.jsonValue(),
    );
    const value = fc.oneof(fc.jsonValue(), fc.array(inner), fc.double(), fc.integer());
    const body = fc.dictionary(fc.constantFrom(...names, "stream", "__proto__"), value);
    fc.assert(
      fc.property(body, fc.boolean(), (fields, isTalk) => {
        const whole = isTalk ? { ...fields, messages } : fields;
        let request: ReturnType<typeof toChatRequest>["request"];
        try {
          request = toChatRequest(Buffer.from(JSON.stringify(whole))).request;
        } catch (error) {
          expect(error).to.be.instanceOf(DevmeshError);
          return;
        }
        // What the contract refuses is refused by the chain behind; nothing may break it.
        const { kind } = validator.validate(ChatRequestSchema, request);
        expect(kind).to.not.equal("error");
        if (kind === "valid") toBinary(ChatRequestSchema, request);
      }),
      { numRuns: 500 },
    );
  });

  it("never throws anything but a refusal for any bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array(), (bytes) => {
        expect(() => toChatRequest(bytes)).to.throw(DevmeshError);
      }),
    );
  });

  const route = { provider: "local", model: "small", local: true };
  const toolCall = { id: "c1", name: "f", arguments: "{}" };

  it("answers with text, the model that spoke, and what it took", () => {
    const answer = toCompletion(
      create(ChatResponseSchema, {
        message: { role: "assistant", content: "hello" },
        finishReason: "stop",
        usage: { inputTokens: 3n, outputTokens: 4n },
        route,
      }),
      "coding",
    );
    expect(answer).to.deep.include({
      object: "chat.completion",
      model: "local/small",
      usage: { prompt_tokens: 3, completion_tokens: 4, total_tokens: 7 },
    });
    expect(answer.choices).to.deep.include.members([
      {
        index: 0,
        message: { role: "assistant", content: "hello", refusal: null },
        logprobs: null,
        finish_reason: "stop",
      },
    ]);
  });

  it("answers tool calls with no content, and names the asked model where no route is told", () => {
    const answer = toCompletion(
      create(ChatResponseSchema, {
        message: { role: "assistant", toolCalls: [toolCall] },
        finishReason: "tool_calls",
      }),
      "coding",
    );
    expect(answer.model).to.equal("coding");
    const [choice] = answer.choices as { message: object }[];
    expect(choice?.message).to.deep.include({
      content: null,
      tool_calls: [{ id: "c1", type: "function", function: { name: "f", arguments: "{}" } }],
    });
  });

  it("streams the same in chunks of one id, tool calls numbered, usage last where asked for", () => {
    const writer = chunkWriter(true, "coding");
    const delta = (piece: Parameters<typeof create<typeof ChatDeltaSchema>>[1]) =>
      writer(create(ChatDeltaSchema, piece));
    const end = { finishReason: "tool_calls", usage: { inputTokens: 1n, outputTokens: 2n } };
    const chunks = [
      ...delta({ piece: { case: "route", value: route } }),
      ...delta({ piece: { case: "text", value: "a" } }),
      ...delta({ piece: { case: "toolCall", value: toolCall } }),
      ...delta({ piece: { case: "toolCall", value: { ...toolCall, id: "c2" } } }),
      ...delta({ piece: { case: "end", value: end } }),
      ...writer(undefined),
    ];
    expect(new Set(chunks.map(({ id }) => id)).size).to.equal(1);
    expect(new Set(chunks.map(({ model }) => model))).to.deep.equal(new Set(["local/small"]));
    const usages = chunks.map(({ usage }) => usage);
    expect(usages.slice(0, -1).every((usage) => usage === null)).to.equal(true);
    expect(chunks.at(-1)).to.deep.include({
      choices: [],
      usage: { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3 },
    });
    const deltas = chunks
      .slice(0, -1)
      .map(({ choices }) => (choices as { delta: object }[])[0]?.delta);
    expect(deltas).to.deep.equal([
      { role: "assistant", content: "" },
      { content: "a" },
      {
        tool_calls: [
          { index: 0, id: "c1", type: "function", function: { name: "f", arguments: "{}" } },
        ],
      },
      {
        tool_calls: [
          { index: 1, id: "c2", type: "function", function: { name: "f", arguments: "{}" } },
        ],
      },
      {},
    ]);
  });
});
