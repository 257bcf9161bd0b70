/** Every provider against the one suite: on stand-ins, and on real servers where they are. */
import { ensureChatModel, ensureEmbeddingModel } from "../../scripts/parts/models.ts";
import { type Ollama, startOllama } from "../../scripts/parts/ollama.ts";
import { AnthropicProvider } from "../../services/inference/providers/anthropic/anthropic-provider.ts";
import { startAnthropicStandIn } from "../../services/inference/providers/anthropic.stand-in.ts";
import {
  chatModelName,
  EmbeddedProvider,
  embeddingModelName,
} from "../../services/inference/providers/embedded/embedded-provider.ts";
import { OllamaProvider } from "../../services/inference/providers/ollama/ollama-provider.ts";
import { OpenAiProvider } from "../../services/inference/providers/openai/openai-provider.ts";
import { startOpenAiStandIn } from "../../services/inference/providers/openai.stand-in.ts";
import { providerSuite } from "../../services/inference/providers/provider.suite.ts";
import { parseScript } from "../../services/inference/providers/scripted/script.ts";
import { ScriptedProvider } from "../../services/inference/providers/scripted/scripted-provider.ts";
import { SystemClock } from "../../services/mesh/runtime/index.ts";
import { log, need } from "../parts/need.ts";

const longAnswer = "Write a long story about the sea and the people who live beside it.";
const nothing = async () => {};
const noTools = { skip: "the small model calls tools by chance only" };
const noEmbedder = { skip: "the embedding model's files cannot be had" };
const cutsSilently = { skip: "this dialect of Ollama cuts long prompts and cannot be told not to" };

describe("conformance of providers", () => {
  let ollama: Ollama | undefined;

  after(async function () {
    this.timeout(60_000);
    await ollama?.stop();
  });

  async function realOllama(context: Mocha.Context): Promise<Ollama> {
    ollama ??= need(context, await startOllama({ log }));
    return ollama;
  }

  providerSuite("scripted", async () => ({
    provider: new ScriptedProvider({ script: parseScript(script) }),
    chatModel: "replay",
    embeddingModel: "hash",
    longAnswer,
    tooLong: "word ".repeat(2_000),
    toolPrompt: "use the tool",
    nextUpstreamAbort: undefined,
    stop: nothing,
  }));

  providerSuite("openai on its stand-in", async () => {
    const server = await startOpenAiStandIn();
    return {
      provider: new OpenAiProvider({ baseUrl: `${server.url}/v1`, apiKey: "key" }),
      chatModel: "stand-in-chat",
      embeddingModel: "stand-in-embed",
      longAnswer: "count to 5000",
      tooLong: "word ".repeat(2_000),
      toolPrompt: "use the tool",
      nextUpstreamAbort: server.nextAbort,
      stop: server.stop,
    };
  });

  providerSuite("anthropic on its stand-in", async () => {
    const server = await startAnthropicStandIn();
    return {
      provider: new AnthropicProvider({ baseUrl: server.url, apiKey: "key" }),
      chatModel: "stand-in-chat",
      embeddingModel: { skip: "Anthropic has no embedding models" },
      longAnswer: "count to 5000",
      tooLong: "word ".repeat(2_000),
      toolPrompt: "use the tool",
      nextUpstreamAbort: server.nextAbort,
      stop: server.stop,
    };
  });

  providerSuite("embedded", async (context) => {
    const chat = need(context, await ensureChatModel({ log }));
    const embedding = need(context, await ensureEmbeddingModel({ log }));
    return {
      provider: new EmbeddedProvider({
        clock: new SystemClock(),
        chatModelPath: chat.ggufPath,
        embeddingModelPath: embedding.modelPath,
        maxContextTokens: 1024,
      }),
      chatModel: chatModelName(chat.ggufPath),
      embeddingModel: embeddingModelName(embedding.modelPath),
      longAnswer,
      tooLong: "word ".repeat(2_000),
      toolPrompt: noTools,
      nextUpstreamAbort: undefined,
      stop: nothing,
    };
  });

  providerSuite("ollama", async (context) => {
    const { url, chatModel, embeddingModel } = await realOllama(context);
    return {
      provider: new OllamaProvider({ baseUrl: url }),
      chatModel,
      embeddingModel: embeddingModel ?? noEmbedder,
      longAnswer,
      tooLong: "word ".repeat(6_000),
      toolPrompt: noTools,
      nextUpstreamAbort: undefined,
      stop: nothing,
    };
  });

  providerSuite("openai on Ollama", async (context) => {
    const { url, chatModel, embeddingModel } = await realOllama(context);
    return {
      provider: new OpenAiProvider({ baseUrl: `${url}/v1`, apiKey: "", local: true }),
      chatModel: `${chatModel}:latest`,
      embeddingModel: embeddingModel ? `${embeddingModel}:latest` : noEmbedder,
      longAnswer,
      tooLong: cutsSilently,
      toolPrompt: noTools,
      nextUpstreamAbort: undefined,
      stop: nothing,
    };
  });

  providerSuite("anthropic on Ollama", async (context) => {
    const { url, chatModel } = await realOllama(context);
    return {
      provider: new AnthropicProvider({ baseUrl: url, apiKey: "", local: true }),
      chatModel: `${chatModel}:latest`,
      embeddingModel: { skip: "Anthropic has no embedding models" },
      longAnswer,
      tooLong: cutsSilently,
      toolPrompt: noTools,
      nextUpstreamAbort: undefined,
      stop: nothing,
    };
  });
});

const turn = {
  pieces: Array.from({ length: 40 }, (_, i) => ({ text: `wave ${i} ` })),
  usage: { inputTokens: 12, outputTokens: 3 },
};
const call = { toolCall: { name: "get_weather", arguments: { city: "Bern" } } };

const script = {
  models: [
    { name: "replay", roles: ["chat", "coding"], contextTokens: 1000 },
    { name: "hash", dimensions: 64 },
  ],
  conversations: [
    {
      when: { contains: "use the tool", tools: true },
      turns: [
        { pieces: [{ text: "I look." }, call, call] },
        { when: { toolResult: "sunny" }, pieces: [{ text: "It is sunny." }] },
      ],
    },
    { turns: [turn] },
  ],
};
