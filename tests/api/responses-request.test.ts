/** The Responses API as data: what is understood, what is refused, and by which name. */
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
import { ResponseEvents, toResponse } from "../../services/api/dialects/responses-answer.ts";
import { toResponsesRequest } from "../../services/api/dialects/responses-request.ts";

function read(body: object) {
  return toResponsesRequest(Buffer.from(JSON.stringify({ input: "hi", ...body })));
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

const messagesOf = (body: object) =>
  read(body).request.messages.map(({ role, content, toolCalls, toolCallId }) => [
    role,
    content,
    toolCalls.map(({ id, name }) => [id, name]),
    toolCallId,
  ]);

describe("responses request", () => {
  it("takes a text as input, and instructions before it", () => {
    expect(messagesOf({ instructions: "be brief" })).to.deep.equal([
      ["system", "be brief", [], ""],
      ["user", "hi", [], ""],
    ]);
  });

  it("makes one message of what the model said and called in one turn", () => {
    const call = (id: string) => ({
      type: "function_call",
      call_id: id,
      name: "f",
      arguments: "{}",
    });
    const input = [
      { type: "message", role: "developer", content: [{ type: "input_text", text: "rules" }] },
      { role: "user", content: "fix it" },
      { type: "reasoning", id: "rs_1", summary: [], encrypted_content: "x" },
      { type: "message", role: "assistant", content: [{ type: "output_text", text: "I look" }] },
      call("c1"),
      call("c2"),
      { type: "function_call_output", call_id: "c1", output: "one" },
      {
        type: "function_call_output",
        call_id: "c2",
        output: [{ type: "input_text", text: "two" }],
      },
      call("c3"),
      { type: "function_call_output", call_id: "c3", output: "three" },
    ];
    expect(messagesOf({ input })).to.deep.equal([
      ["system", "rules", [], ""],
      ["user", "fix it", [], ""],
      [
        "assistant",
        "I look",
        [
          ["c1", "f"],
          ["c2", "f"],
        ],
        "",
      ],
      ["tool", "one", [], "c1"],
      ["tool", "two", [], "c2"],
      ["assistant", "", [["c3", "f"]], ""],
      ["tool", "three", [], "c3"],
    ]);
  });

  it("offers functions, and tells the types of tools that it leaves out", () => {
    const f = { type: "function", name: "f", description: "d", parameters: { type: "object" } };
    const others = [{ type: "web_search" }, { type: "custom", name: "g" }, { type: "web_search" }];
    const both = read({ tools: [...others, f] });
    expect(both.request.tools.map(({ name }) => name)).to.deep.equal(["f"]);
    expect(both.leftOut).to.deep.equal(["web_search", "custom"]);
    expect(read({ tools: [f], tool_choice: "none" }).request.tools).to.deep.equal([]);
    const g = { ...f, name: "g" };
    const one = read({ tools: [f, g], tool_choice: { type: "function", name: "g" } });
    expect(one.request.tools.map(({ name }) => name)).to.deep.equal(["g"]);
  });

  it("passes over what changes nothing here", () => {
    const { request, stream } = read({
      store: false,
      include: ["reasoning.encrypted_content"],
      prompt_cache_key: "k",
      client_metadata: { a: "b" },
      parallel_tool_calls: false,
      reasoning: { effort: "low" },
      text: { verbosity: "low", format: { type: "text" } },
      max_output_tokens: 7,
      temperature: 0,
      stream: true,
    });
    expect(request.params).to.deep.include({ maxTokens: 7, temperature: 0 });
    expect(stream).to.equal(true);
  });

  it("names the field that is wrong", () => {
    const rows: [object, string][] = [
      [{ input: [] }, "input"],
      [{ input: 1 }, "input"],
      [{ input: null }, "input"],
      [{ input: [1] }, "input[0]"],
      [{ input: [{ type: "item_reference", id: "x" }] }, "input[0].type"],
      [{ input: [{ role: "judge", content: "x" }] }, "input[0].role"],
      [
        { input: [{ role: "user", content: [{ type: "input_image" }] }] },
        "input[0].content[0].type",
      ],
      [{ input: [{ type: "function_call", call_id: 1 }] }, "input[0].call_id"],
      [{ previous_response_id: "resp_1" }, "previous_response_id"],
      [{ conversation: "conv_1" }, "conversation"],
      [{ prompt: { id: "p" } }, "prompt"],
      [{ background: true }, "background"],
      [{ store: "no" }, "store"],
      [{ include: "all" }, "include"],
      [{ text: "x" }, "text"],
      [{ text: { format: { type: "json_schema" } } }, "text.format.type"],
      [{ instructions: 1 }, "instructions"],
      [{ model: 1 }, "model"],
      [{ stream: 1 }, "stream"],
      [{ max_output_tokens: -1 }, "max_output_tokens"],
      [{ max_output_tokens: 1e9 }, "max_output_tokens"],
      [{ temperature: "hot" }, "temperature"],
      [{ tools: [1] }, "tools[0]"],
      [{ tools: [{ type: "function", name: 1 }] }, "tools[0].name"],
      [{ tool_choice: { type: "function", name: "f" } }, "tool_choice.name"],
    ];
    for (const [body, field] of rows) expect(refused(body), JSON.stringify(body)).to.equal(field);
  });

  it("never throws anything but a refusal, and lets through only what can be sent on", () => {
    const validator = createValidator();
    const inner = fc.dictionary(
      fc.constantFrom("type", "role", "content", "call_id", "output", "name", "text", "format"),
      fc.jsonValue(),
    );
    const names = ["input", "tools", "text", "tool_choice", "model", "metadata", "include"];
    const value = fc.oneof(fc.jsonValue(), fc.array(inner), inner, fc.double());
    fc.assert(
      fc.property(fc.dictionary(fc.constantFrom(...names, "__proto__"), value), (fields) => {
        let request: ReturnType<typeof toResponsesRequest>["request"];
        try {
          request = read(fields).request;
        } catch (error) {
          expect(error).to.be.instanceOf(DevmeshError);
          return;
        }
        const { kind } = validator.validate(ChatRequestSchema, request);
        expect(kind).to.not.equal("error");
        if (kind === "valid") toBinary(ChatRequestSchema, request);
      }),
      { numRuns: 500, seed: 7 },
    );
  });
});

describe("responses answer", () => {
  const route = { provider: "local", model: "small", local: true };
  const call = { id: "c1", name: "f", arguments: "{}" };
  const usage = { inputTokens: 3n, outputTokens: 4n };
  const frame = { model: "coding", echo: {} };

  /** The data of frames, each checked to be one event of its own name. */
  const read = (frames: string[]) =>
    frames.map((text) => {
      const [, event, data] = /^event: (.+)\ndata: (.+)\n\n$/.exec(text) ?? [];
      const value = JSON.parse(data ?? "") as { type: string } & Record<string, unknown>;
      expect(value.type).to.equal(event);
      return value;
    });

  it("holds text, calls and usage in one document", () => {
    const message = { role: "assistant", content: "hello", toolCalls: [call] };
    const whole = create(ChatResponseSchema, { message, finishReason: "stop", usage, route });
    const answer = toResponse(whole, frame);
    expect(answer).to.deep.include({
      object: "response",
      status: "completed",
      model: "local/small",
    });
    expect(answer.usage).to.deep.include({ input_tokens: 3, output_tokens: 4, total_tokens: 7 });
    const [text, fn] = answer.output as Record<string, unknown>[];
    expect(text).to.deep.include({ type: "message", role: "assistant" });
    expect(fn).to.deep.include({
      type: "function_call",
      call_id: "c1",
      name: "f",
      arguments: "{}",
    });
  });

  it("tells an answer cut by its limit as incomplete", () => {
    const whole = create(ChatResponseSchema, { message: {}, finishReason: "length" });
    expect(toResponse(whole, frame)).to.deep.include({
      status: "incomplete",
      incomplete_details: { reason: "max_output_tokens" },
    });
  });

  it("tells text and calls as numbered events in the API's order", () => {
    const events = new ResponseEvents(frame);
    const take = (piece: Parameters<typeof create<typeof ChatDeltaSchema>>[1]) =>
      events.take(create(ChatDeltaSchema, piece));
    const seen = read([
      ...take({ piece: { case: "route", value: route } }),
      ...take({ piece: { case: "text", value: "a" } }),
      ...take({ piece: { case: "text", value: "b" } }),
      ...take({ piece: { case: "toolCall", value: call } }),
      ...take({ piece: { case: "end", value: { finishReason: "tool_calls", usage } } }),
      ...events.close(),
    ]);
    expect(seen.map(({ type }) => type.replace("response.", ""))).to.deep.equal([
      "created",
      "in_progress",
      "output_item.added",
      "content_part.added",
      "output_text.delta",
      "output_text.delta",
      "output_text.done",
      "content_part.done",
      "output_item.done",
      "output_item.added",
      "function_call_arguments.delta",
      "function_call_arguments.done",
      "output_item.done",
      "completed",
    ]);
    expect(seen.map(({ sequence_number }) => sequence_number)).to.deep.equal(seen.map((_, i) => i));
    const indexes = seen.slice(2, -1).map(({ output_index }) => output_index);
    expect(indexes).to.deep.equal([0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1]);
    const { response } = seen.at(-1) as unknown as { response: Record<string, unknown> };
    expect(response).to.deep.include({ status: "completed", model: "local/small" });
    expect(response.output).to.have.length(2);
    expect(response.usage).to.deep.include({ total_tokens: 7 });
  });

  it("tells a failure as the last event, with a code that clients act on", () => {
    for (const [reason, code] of [
      ["CONTEXT_LENGTH", "context_length_exceeded"],
      ["RATE_LIMITED", "rate_limit_exceeded"],
      ["PROVIDER_UNAVAILABLE", "provider_unavailable"],
    ] as const) {
      const events = new ResponseEvents(frame);
      const seen = read([
        ...events.take(create(ChatDeltaSchema, { piece: { case: "text", value: "a" } })),
        ...events.fail(new DevmeshError(reason, "it broke")),
        ...events.close(),
      ]);
      expect(seen.at(-1)?.type).to.equal("response.failed");
      expect(seen.at(-1)).to.have.nested.property("response.error.code", code);
    }
  });

  it("takes an answer that ends without its end for a failed one", () => {
    const events = new ResponseEvents(frame);
    const seen = read(events.close());
    expect(seen.map(({ type }) => type).at(-1)).to.equal("response.failed");
  });
});
