import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Code, ConnectError, createClient, createRouterTransport } from "@connectrpc/connect";
import { ChatService } from "@devmesh/gen/devmesh/inference/v1/chat_service_pb";
import { EmbeddingService } from "@devmesh/gen/devmesh/inference/v1/embedding_service_pb";
import { ModelService } from "@devmesh/gen/devmesh/inference/v1/model_service_pb";
import { toConnectError, toDevmeshError } from "@devmesh/mesh/errors";
import { silentLogger } from "@devmesh/mesh/log";
import { SystemClock } from "@devmesh/mesh/runtime";
import type { App } from "@devmesh/mesh/server";
import { expect } from "chai";
import { buildInference } from "../../services/inference/app.ts";
import { readInferenceConfig } from "../../services/inference/config.ts";

const script = {
  models: [
    { name: "replay", roles: ["chat", "coding"], contextTokens: 500 },
    { name: "hash", dimensions: 16 },
  ],
  turns: [
    {
      pieces: [
        { text: "I " },
        { text: "look." },
        { toolCall: { id: "c1", name: "read", arguments: { path: "a" } } },
      ],
      usage: { inputTokens: 7, outputTokens: 2 },
    },
  ],
};

describe("inference app", () => {
  let folder: string;
  let app: App;
  const messages = [{ role: "user", content: "hello" }];

  function client<T extends typeof ChatService | typeof EmbeddingService | typeof ModelService>(
    service: T,
  ) {
    const transport = createRouterTransport(
      (router) => {
        for (const registration of app.services) registration.register(router);
      },
      {
        router: {
          interceptors: [
            (next) => async (request) => {
              try {
                return await next(request);
              } catch (error) {
                throw toConnectError(error);
              }
            },
          ],
        },
      },
    );
    return createClient(service, transport);
  }

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "inference-"));
    const path = join(folder, "script.json");
    await writeFile(path, JSON.stringify(script));
    const config = readInferenceConfig({
      DEVMESH_CACHE_DIR: folder,
      STORAGE_URL: "memory:",
      SCRIPTED_PATH: path,
    });
    app = await buildInference({ config, logger: silentLogger(), clock: new SystemClock() });
  });

  after(async () => {
    await app.close();
    await rm(folder, { recursive: true });
  });

  it("streams route, text, tool call, end", async () => {
    const seen: (string | undefined)[] = [];
    const stream = client(ChatService).streamChat({ request: { messages } });
    for await (const { delta } of stream) seen.push(delta?.piece.case);
    expect(seen).to.deep.equal(["route", "text", "text", "toolCall", "end"]);
  });

  it("answers the same as one message", async () => {
    const answer = await client(ChatService).chat({ messages, model: "coding" });
    expect(answer.message?.content).to.equal("I look.");
    expect(answer.message?.toolCalls[0]).to.deep.include({ id: "c1", arguments: '{"path":"a"}' });
    expect(answer.finishReason).to.equal("tool_calls");
    expect(answer.usage).to.deep.include({ inputTokens: 7n, outputTokens: 2n, exact: true });
    expect(answer.route).to.deep.include({ provider: "scripted", model: "replay", local: true });
  });

  it("embeds under local_only", async () => {
    const answer = await client(EmbeddingService).embed({ texts: ["a b", "c"], localOnly: true });
    expect(answer.vectors.map((vector) => vector.values.length)).to.deep.equal([16, 16]);
    expect(answer).to.deep.include({ model: "scripted/hash", dimensions: 16 });
  });

  it("lists models and providers, and counts tokens", async () => {
    const list = await client(ModelService).listModels({});
    expect(list.models.map((model) => model.name)).to.deep.equal(["replay", "hash"]);
    expect(list.providers[0]).to.deep.include({ name: "scripted", healthy: true, models: 2 });
    const counted = await client(ModelService).countTokens({ texts: ["hello world", ""] });
    expect(counted.counts).to.deep.equal([4, 0]);
    expect(counted.tokenizer).to.equal("scripted/replay");
  });

  it("refuses what the contract says", async () => {
    const chat = client(ChatService);
    const long = [{ role: "user", content: "word ".repeat(2_000) }];
    const override = { mode: "local-only", provider: "openai" };
    for (const [request, reason] of [
      [{ messages, model: "nope" }, "MODEL_NOT_FOUND"],
      [{ messages: long }, "CONTEXT_LENGTH"],
      [{ messages, policyOverride: override }, "POLICY_REFUSED"],
    ] as const) {
      const failed = await chat.chat(request).then(() => undefined, toDevmeshError);
      expect(failed?.reason).to.equal(reason);
    }
  });

  it("stops when the caller goes", async () => {
    const caller = new AbortController();
    const stream = client(ChatService).streamChat(
      { request: { messages } },
      { signal: caller.signal },
    );
    try {
      for await (const { delta } of stream) if (delta?.piece.case === "route") caller.abort();
      expect.fail("the stream went on");
    } catch (error) {
      expect(ConnectError.from(error).code).to.equal(Code.Canceled);
    }
  });

  it("is ready when its ledger can be read and a provider is up", async () => {
    const said = await Promise.all(
      app.readiness.map(
        async ({ name, check }) => `${name}: ${await check(AbortSignal.timeout(5_000))}`,
      ),
    );
    expect(said).to.deep.equal(["ledger: readable", "providers: up: scripted"]);
  });
});
