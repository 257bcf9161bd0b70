/** Refusals of the OpenAI dialect: in its own shape, with the client's own names, by OpenAI's own client. */
import type { ServiceImpl } from "@connectrpc/connect";
import type { ChatService } from "@devmesh/gen/devmesh/inference/v1/chat_service_pb";
import { DevmeshError } from "@devmesh/mesh/errors";
import { expect } from "chai";
import OpenAI, { APIError } from "openai";
import { Bed } from "./bed.ts";

type Chat = Partial<ServiceImpl<typeof ChatService>>;

const noModel = () => {
  throw new DevmeshError("MODEL_NOT_FOUND", 'no provider serves the model "nosuch"', {
    metadata: { model: "nosuch" },
  });
};

const chat: Chat = {
  chat: async ({ model }) =>
    model === "nosuch"
      ? noModel()
      : { message: { role: "assistant", content: "hello" }, finishReason: "stop" },
  async *streamChat({ request }) {
    if (request?.model === "nosuch") noModel();
    yield {
      delta: { piece: { case: "route" as const, value: { provider: "local", model: "small" } } },
    };
    // As another service names a field of the contract.
    throw new DevmeshError("INVALID_FIELD", "request.params.topP: is too much", {
      metadata: { field: "request.params.topP" },
    });
  },
};

const messages = [{ role: "user", content: "hi" }];
const fn = (name: unknown, more = {}) => ({ type: "function", function: { name, ...more } });

describe("openai refusals", () => {
  let bed: Bed;
  let url: string;
  let openai: OpenAI;
  before(async () => {
    const models = [{ provider: "local", name: "org/small" }];
    bed = await Bed.open({ chat, models: { listModels: () => ({ models }) } });
    url = await bed.url();
    openai = new OpenAI({ baseURL: `${url}/v1`, apiKey: bed.ownerSecret, maxRetries: 0 });
  });
  after(() => bed.close());

  interface Told {
    readonly message: string;
    readonly type: string;
    readonly param: string | null;
    readonly code: string;
  }

  /** Sends a request that is refused: with all members of the shape, and an id. */
  async function refused(path: string, init: RequestInit, status: number): Promise<Told> {
    const headers = { authorization: `Bearer ${bed.ownerSecret}`, ...init.headers };
    const res = await fetch(`${url}${path}`, { ...init, headers });
    const text = await res.text();
    expect(res.status, text).to.equal(status);
    expect(res.headers.get("content-type")).to.equal("application/json");
    expect(res.headers.get("x-request-id")).to.match(/^req_/);
    const { error } = JSON.parse(text) as { error: Told };
    expect(error).to.have.all.keys("message", "type", "param", "code");
    expect(error.type).to.equal("invalid_request_error");
    return error;
  }

  const post = (path: string, body: unknown, status = 400) => {
    const text = typeof body === "string" ? body : JSON.stringify(body);
    const headers = { "content-type": "application/json" };
    return refused(path, { method: "POST", headers, body: text }, status);
  };

  for (const [field, body] of [
    ["messages", {}],
    ["messages", { messages: [] }],
    ["messages", { messages: "hi" }],
    ["messages", { messages: {} }],
    ["messages[0]", { messages: ["hi"] }],
    ["messages[0].role", { messages: [{ role: "judge", content: "x" }] }],
    ["messages[0].content", { messages: [{ role: "user", content: 5 }] }],
    [
      "messages[0].tool_calls[0].function.name",
      { messages: [{ role: "assistant", tool_calls: [{ id: "c", ...fn("n".repeat(200)) }] }] },
    ],
    [
      "messages[0].tool_call_id",
      { messages: [{ role: "tool", content: "x", tool_call_id: "i".repeat(300) }] },
    ],
    ["model", { messages, model: 5 }],
    ["model", { messages, model: "m".repeat(300) }],
    ["top_p", { messages, top_p: 7 }],
    ["top_p", { messages, top_p: "all" }],
    ["temperature", { messages, temperature: -1 }],
    ["max_tokens", { messages, max_tokens: -1 }],
    ["max_completion_tokens", { messages, max_completion_tokens: 0.5 }],
    ["seed", { messages, seed: 1e30 }],
    ["stop", { messages, stop: 5 }],
    ["stop", { messages, stop: Array(17).fill("x") }],
    ["stop", { messages, stop: "x".repeat(300) }],
    ["stream", { messages, stream: "yes" }],
    ["stream_options", { messages, stream_options: "usage" }],
    ["stream_options.include_usage", { messages, stream_options: { include_usage: 1 } }],
    ["tools", { messages, tools: {} }],
    ["tools[0].function", { messages, tools: [{ type: "function" }] }],
    ["tools[0].function.name", { messages, tools: [fn("a b")] }],
    ["tools[1].function.name", { messages, tools: [fn("a"), fn("")] }],
    ["tools[0].function.parameters", { messages, tools: [fn("a", { parameters: [] })] }],
    [
      "tools[0].function.description",
      { messages, tools: [fn("a", { description: "d".repeat(70_000) })] },
    ],
  ] as [string, object][]) {
    it(`chat: ${JSON.stringify(body).slice(0, 80)} is refused for ${field}`, async () => {
      for (const stream of [false, true]) {
        const whole = "stream" in body ? body : { ...body, stream };
        const { param, code, message } = await post("/v1/chat/completions", whole);
        expect([param, code]).to.deep.equal([field, "invalid_field"]);
        expect(message).to.include(`${field}: `).and.not.include("params.");
      }
    });
  }

  it("chat: names each field in fault, the first as the parameter", async () => {
    const { param, message } = await post("/v1/chat/completions", {
      ...{ messages, temperature: 9, top_p: 9 },
    });
    expect(param).to.equal("temperature");
    expect(message).to.match(/^temperature: .*; top_p: /);
  });

  const said = (role: string, content: string) => ({ role, content });
  for (const [field, body] of [
    ["input", {}],
    ["input", { input: 5 }],
    ["input", { input: {} }],
    ["input", { input: [] }],
    ["input[0]", { input: [5] }],
    ["input[0].type", { input: [{ type: "image" }] }],
    ["input[0].role", { input: [said("judge", "x")] }],
    ["top_p", { input: "x", top_p: 7 }],
    ["temperature", { input: "x", temperature: 9 }],
    ["max_output_tokens", { input: "x", max_output_tokens: -1 }],
    ["previous_response_id", { input: "x", previous_response_id: "resp_1" }],
    [
      "input[1]",
      {
        instructions: "be brief",
        input: [
          said("user", "x"),
          { type: "function_call_output", call_id: "c".repeat(300), output: "" },
        ],
      },
    ],
    [
      "tools[1].description",
      {
        input: "x",
        tools: [
          { type: "web_search" },
          { type: "function", name: "f", description: "d".repeat(70_000) },
        ],
      },
    ],
    ["tools[0].name", { input: "x", tools: [{ type: "function", name: "a b" }] }],
  ] as [string, object][]) {
    it(`responses: ${JSON.stringify(body).slice(0, 80)} is refused for ${field}`, async () => {
      for (const stream of [false, true]) {
        const { param, code } = await post("/v1/responses", { ...body, stream });
        expect([param, code]).to.deep.equal([field, "invalid_field"]);
      }
    });
  }

  it("responses: says what input may be", async () => {
    const { message } = await post("/v1/responses", { input: 5 });
    expect(message).to.equal("input: must be a string or a list of items");
  });

  for (const path of ["/v1/chat/completions", "/v1/responses"]) {
    it(`${path}: a body that is no JSON, of another type, or packed in what is not known`, async () => {
      for (const body of ["{", "[]", "5", "null", ""]) {
        expect((await post(path, body)).code, body).to.equal("malformed_body");
      }
      for (const [name, value] of [
        ["content-type", "text/xml"],
        ["content-encoding", "zip"],
      ] as const) {
        const init = { method: "POST", headers: { [name]: value }, body: "{}" };
        const { param, code } = await refused(path, init, 415);
        expect([param?.toLowerCase(), code]).to.deep.equal([name, "unsupported_media_type"]);
      }
    });
  }

  it("an unknown model: 404, model_not_found, for OpenAI's own client", async () => {
    const ask = { model: "nosuch", messages: [{ role: "user" as const, content: "hi" }] };
    for (const call of [
      () => openai.chat.completions.create(ask),
      () => openai.chat.completions.create({ ...ask, stream: true }),
      () => openai.responses.create({ model: "nosuch", input: "hi" }),
      () => openai.models.retrieve("nosuch"),
      () => openai.models.retrieve("no/such"),
    ]) {
      const error: unknown = await call().then(
        () => undefined,
        (thrown: unknown) => thrown,
      );
      if (!(error instanceof APIError)) throw new Error("it was not refused", { cause: error });
      expect(error).to.include({ status: 404, code: "model_not_found", param: "model" });
      expect(error.type).to.equal("invalid_request_error");
      expect(error.requestID).to.match(/^req_/);
    }
  });

  it("a model that there is, by its id", async () => {
    expect(await openai.models.retrieve("local/org/small")).to.include({ owned_by: "local" });
  });

  it("an error within a stream has the client's names, too", async () => {
    const body = JSON.stringify({ messages, stream: true });
    const headers = { authorization: `Bearer ${bed.ownerSecret}` };
    const init = { method: "POST", headers, body };
    const res = await fetch(`${url}/v1/chat/completions`, init);
    expect(await res.text())
      .to.include('"message":"top_p: is too much"')
      .and.include('"param":"top_p"');
  });

  it("what the dialect has elsewhere, and not here: 404 in its shape", async () => {
    for (const path of [
      "/v1/embeddings",
      "/v1/completions",
      "/v1/responses/resp_1",
      "/v1/chat/x",
    ]) {
      expect((await refused(path, { method: "POST", body: "{}" }, 404)).code).to.equal(
        "no_such_route",
      );
    }
    const { code } = await refused("/v1/models/x", { method: "DELETE" }, 405);
    expect(code).to.equal("method_not_allowed");
  });
});
