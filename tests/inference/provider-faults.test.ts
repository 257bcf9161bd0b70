import { expect } from "chai";
import { AnthropicProvider } from "../../services/inference/providers/anthropic/anthropic-provider.ts";
import { startAnthropicStandIn } from "../../services/inference/providers/anthropic.stand-in.ts";
import type { StandIn } from "../../services/inference/providers/http.stand-in.ts";
import { startStandIn } from "../../services/inference/providers/http.stand-in.ts";
import { OllamaProvider } from "../../services/inference/providers/ollama/ollama-provider.ts";
import { OpenAiProvider } from "../../services/inference/providers/openai/openai-provider.ts";
import { startOpenAiStandIn } from "../../services/inference/providers/openai.stand-in.ts";
import {
  allPieces,
  conversation,
  errorOf,
} from "../../services/inference/providers/provider.suite.ts";
import type { Provider } from "../../services/inference/providers/provider.ts";

const faults: readonly (readonly [model: string, reason: string])[] = [
  ["cut", "PROVIDER_UNAVAILABLE"],
  ["garbage", "PROVIDER_PROTOCOL"],
  ["error-event", "PROVIDER_UNAVAILABLE"],
  ["filtered", "CONTENT_FILTERED"],
  ["busy", "RATE_LIMITED"],
  ["broken", "PROVIDER_UNAVAILABLE"],
  ["locked", "PROVIDER_UNAVAILABLE"],
  ["broke", "PROVIDER_UNAVAILABLE"],
];

function describeFaults(
  name: string,
  start: () => Promise<StandIn>,
  connect: (url: string) => Provider,
): void {
  describe(`faults of ${name}`, () => {
    let server: StandIn;
    let provider: Provider;

    before(async () => {
      server = await start();
      provider = connect(server.url);
    });

    after(async () => {
      await provider.close();
      await server.stop();
    });

    const failure = (model: string) =>
      errorOf(() => allPieces(provider.chat(conversation(model, "hello"))));

    for (const [model, reason] of faults) {
      it(`${model}: ${reason}`, async () => {
        const error = await failure(model);
        expect(error.reason, error.message).to.equal(reason);
        expect(error.message).to.not.include("sk-12345678");
      });
    }

    it("hands on how long a busy server wants to be left alone", async () => {
      expect((await failure("busy")).retryAfterMs).to.equal(7_000);
    });

    it("tells the limit of a window that was passed", async () => {
      const long = conversation("stand-in-chat", "word ".repeat(1_000));
      const error = await errorOf(() => allPieces(provider.chat(long)));
      expect(error.metadata.limit_tokens).to.equal("300");
    });

    it("cannot be reached: PROVIDER_UNAVAILABLE", async () => {
      const gone = await start();
      await gone.stop();
      const nobody = connect(gone.url);
      const error = await errorOf(() => nobody.listModels());
      expect(error.reason).to.equal("PROVIDER_UNAVAILABLE");
      await nobody.close();
    });
  });
}

describeFaults(
  "openai",
  startOpenAiStandIn,
  (url) => new OpenAiProvider({ baseUrl: `${url}/v1`, apiKey: "key" }),
);

describeFaults(
  "anthropic",
  startAnthropicStandIn,
  (url) => new AnthropicProvider({ baseUrl: url, apiKey: "key" }),
);

describe("faults of ollama", () => {
  let server: StandIn;
  let provider: OllamaProvider;
  let sent: Record<string, unknown> = {};
  let lines: readonly unknown[] = [];

  before(async () => {
    server = await startStandIn((path, body, response) => {
      if (path === "/api/tags") {
        response.end(JSON.stringify({ models: [{ name: "m:latest", digest: "d1" }] }));
      } else if (path === "/api/show") {
        const facts = { "llama.context_length": 4096, "general.architecture": "llama" };
        response.end(
          JSON.stringify({ model_info: facts, parameters: "num_ctx    512", capabilities: [] }),
        );
      } else {
        sent = body;
        for (const line of lines) response.write(`${JSON.stringify(line)}\n`);
        response.end();
      }
    });
    provider = new OllamaProvider({ baseUrl: server.url });
  });

  after(async () => {
    await provider.close();
    await server.stop();
  });

  const say = (content: string, more: object = {}) => ({
    message: { content },
    done: false,
    ...more,
  });
  const run = (more = {}) => allPieces(provider.chat(conversation("m", "hello", more)));

  it("asks for a strict prompt in the model's own window", async () => {
    lines = [say("hi", { done: true, done_reason: "stop", prompt_eval_count: 3, eval_count: 1 })];
    const pieces = await run({ maxTokens: 7, stop: ["x"] });
    expect(pieces.map((piece) => piece.type)).to.deep.equal(["text", "end"]);
    expect(sent).to.deep.include({ truncate: false, shift: false, stream: true });
    expect(sent.options).to.deep.include({ num_ctx: 512, num_predict: 7, stop: ["x"] });
  });

  it("ends with tool_calls though the server says stop", async () => {
    const tool_calls = [{ function: { name: "f", arguments: { a: 1 } } }];
    lines = [
      { message: { content: "", tool_calls }, done: false },
      say("", { done: true, done_reason: "stop", prompt_eval_count: 3, eval_count: 1 }),
    ];
    const [call, end] = await run();
    expect(call).to.have.nested.property("call.arguments", '{"a":1}');
    expect(end).to.have.property("finishReason", "tool_calls");
  });

  it("a stream without its end: PROVIDER_UNAVAILABLE", async () => {
    lines = [say("half")];
    expect((await errorOf(() => run())).reason).to.equal("PROVIDER_UNAVAILABLE");
  });

  it("an error inside the stream: PROVIDER_UNAVAILABLE", async () => {
    lines = [say("half"), { error: "model runner has unexpectedly stopped" }];
    const error = await errorOf(() => run());
    expect(error.reason).to.equal("PROVIDER_UNAVAILABLE");
    expect(error.message).to.include("unexpectedly stopped");
  });
});
