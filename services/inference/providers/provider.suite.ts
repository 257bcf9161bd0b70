/**
 * What every provider must do, whatever is behind it. Run it on each
 * implementation; what one cannot be brought to do is skipped with its reason.
 */

import { DevmeshError } from "@devmesh/mesh/errors";
import { expect } from "chai";
import type { ChatInput, ChatPiece, Provider, Tool } from "./provider.ts";

/** Why something cannot be tried on an implementation. */
export interface Skip {
  readonly skip: string;
}

/** A provider that is up, and how to bring it to do things. */
export interface ProviderSubject {
  readonly provider: Provider;
  readonly chatModel: string;
  readonly embeddingModel: string | Skip;
  /** A user message that is answered with many pieces. */
  readonly longAnswer: string;
  /** A user message longer than the model's window. */
  readonly tooLong: string | Skip;
  /** A user message that makes it call the tool it is given. */
  readonly toolPrompt: string | Skip;
  /** Resolves when the server has seen a caller go away; undefined: it cannot be seen. */
  readonly nextUpstreamAbort: (() => Promise<void>) | undefined;
  stop(): Promise<void>;
}

/** The tool that the suite offers. */
const weatherTool: Tool = {
  name: "get_weather",
  description: "Tells the weather of a city",
  parameters: {
    type: "object",
    properties: { city: { type: "string" } },
    required: ["city"],
  },
};

/** A conversation of one user message. */
export function conversation(
  model: string,
  content: string,
  more: Partial<ChatInput> = {},
): ChatInput {
  return {
    model,
    messages: [{ role: "user", content, toolCalls: [], toolCallId: "" }],
    tools: [],
    maxTokens: 0,
    temperature: 0,
    topP: undefined,
    stop: [],
    seed: 1,
    ...more,
  };
}

/** Waits for all pieces. */
export async function allPieces(pieces: AsyncIterable<ChatPiece>): Promise<ChatPiece[]> {
  const all: ChatPiece[] = [];
  for await (const piece of pieces) all.push(piece);
  return all;
}

/** The reason of what `work` throws; fails if it throws nothing or no DevmeshError. */
export async function reasonOf(work: () => Promise<unknown>): Promise<string> {
  return (await errorOf(work)).reason;
}

/** The DevmeshError that `work` throws. */
export async function errorOf(work: () => Promise<unknown>): Promise<DevmeshError> {
  try {
    await work();
  } catch (error) {
    if (error instanceof DevmeshError) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}

/** Describes the behaviour of one implementation. `open` may skip by its context. */
export function providerSuite(
  name: string,
  open: (context: Mocha.Context) => Promise<ProviderSubject>,
): void {
  describe(`provider ${name}`, function () {
    this.timeout(120_000);
    let subject: ProviderSubject;

    before(async function () {
      this.timeout(900_000);
      subject = await open(this);
    });

    after(async () => {
      await subject?.provider.close();
      await subject?.stop();
    });

    const chat = (content: string, more: Partial<ChatInput> = {}, signal?: AbortSignal) =>
      subject.provider.chat(conversation(subject.chatModel, content, more), signal);

    it("lists its models with their roles", async () => {
      const models = await subject.provider.listModels();
      const chatModel = models.find((model) => model.name === subject.chatModel);
      expect(chatModel?.roles).to.include("chat");
      if (typeof subject.embeddingModel !== "string") return;
      const embedding = models.find((model) => model.name === subject.embeddingModel);
      expect(embedding?.roles).to.deep.equal(["embeddings"]);
    });

    it("streams text, then exactly one end with its usage", async () => {
      const pieces = await allPieces(chat(subject.longAnswer, { maxTokens: 16 }));
      const kinds = pieces.map((piece) => piece.type);
      expect(kinds.filter((kind) => kind === "text").length).to.be.greaterThan(1);
      expect(kinds.indexOf("end")).to.equal(kinds.length - 1);
      const end = pieces.at(-1);
      if (end?.type !== "end") throw new Error("no end");
      expect(end.usage.exact).to.equal(true);
      expect(end.usage.inputTokens).to.be.greaterThan(0);
      expect(end.usage.outputTokens).to.be.greaterThan(0);
      expect(pieces.every((piece) => piece.type !== "text" || piece.text !== "")).to.equal(true);
    });

    it("says the same text in the same order when asked again", async () => {
      const [first, second] = [await said(), await said()];
      expect(first).to.not.equal("");
      expect(second).to.equal(first);

      async function said() {
        const pieces = await allPieces(chat(subject.longAnswer, { maxTokens: 8 }));
        return pieces.map((piece) => (piece.type === "text" ? piece.text : "")).join("");
      }
    });

    it("ends with `length` at the most tokens", async () => {
      const end = (await allPieces(chat(subject.longAnswer, { maxTokens: 3 }))).at(-1);
      if (end?.type !== "end") throw new Error("no end");
      expect(end.finishReason).to.equal("length");
      expect(end.usage.outputTokens).to.be.within(1, 4);
    });

    it("sends tool calls whole, and says so in the end", async function () {
      const prompt = given(this, subject.toolPrompt);
      const pieces = await allPieces(chat(prompt, { tools: [weatherTool] }));
      const calls = pieces.flatMap((piece) => (piece.type === "toolCall" ? [piece.call] : []));
      expect(calls).to.not.have.length(0);
      for (const call of calls) {
        expect(call.name).to.equal("get_weather");
        expect(call.id).to.not.equal("");
        expect(JSON.parse(call.arguments)).to.have.property("city");
      }
      expect(new Set(calls.map((call) => call.id)).size).to.equal(calls.length);
      expect(pieces.at(-1)).to.deep.include({ type: "end", finishReason: "tool_calls" });
    });

    it("takes a conversation with tool calls and their results", async function () {
      const prompt = given(this, subject.toolPrompt);
      const call = { id: "call_x", name: "get_weather", arguments: '{"city":"Bern"}' };
      const messages: ChatInput["messages"] = [
        { role: "system", content: "Be brief.", toolCalls: [], toolCallId: "" },
        { role: "user", content: prompt, toolCalls: [], toolCallId: "" },
        { role: "assistant", content: "", toolCalls: [call], toolCallId: "" },
        { role: "tool", content: "sunny", toolCalls: [], toolCallId: "call_x" },
      ];
      const pieces = await allPieces(chat("", { messages, tools: [weatherTool], maxTokens: 8 }));
      expect(pieces.at(-1)?.type).to.equal("end");
    });

    it("does not begin when the caller is gone already", async () => {
      const gone = AbortSignal.abort();
      expect(await reasonOf(() => allPieces(chat("hello", {}, gone)))).to.equal("CANCELLED");
      expect(await reasonOf(() => subject.provider.listModels(gone))).to.equal("CANCELLED");
    });

    it("stops in the middle when the caller goes, upstream too", async () => {
      const caller = new AbortController();
      const seen = subject.nextUpstreamAbort?.();
      let texts = 0;
      const reason = await reasonOf(async () => {
        for await (const piece of chat(subject.longAnswer, { maxTokens: 200 }, caller.signal)) {
          if (piece.type === "text") texts += 1;
          if (texts === 2) caller.abort();
        }
      });
      expect(reason).to.equal("CANCELLED");
      await seen;
    });

    it("stops upstream when the consumer leaves the loop", async () => {
      const seen = subject.nextUpstreamAbort?.();
      for await (const piece of chat(subject.longAnswer, { maxTokens: 200 })) {
        if (piece.type === "text") break;
      }
      await seen;
    });

    it("answers as before after an abort", async () => {
      const caller = new AbortController();
      const pieces = await allPieces(chat(subject.longAnswer, { maxTokens: 4 }, caller.signal));
      caller.abort();
      expect(pieces.at(-1)?.type).to.equal("end");
    });

    it("refuses a model that it does not have", async () => {
      const unknown = conversation("no-such-model", "hello");
      expect(await reasonOf(() => allPieces(subject.provider.chat(unknown)))).to.equal(
        "MODEL_NOT_FOUND",
      );
    });

    it("refuses a prompt beyond the window instead of cutting it", async function () {
      const prompt = given(this, subject.tooLong);
      const error = await errorOf(() => allPieces(chat(prompt, { maxTokens: 4 })));
      expect(error.reason, error.message).to.equal("CONTEXT_LENGTH");
    });

    it("embeds: one vector of length 1 for each text, the same for the same text", async function () {
      const model = given(this, subject.embeddingModel);
      const texts = ["a red fox", "quantum chromodynamics", "a red fox"];
      const { vectors, usage } = await subject.provider.embed({
        model,
        texts,
        purpose: "document",
      });
      expect(vectors).to.have.length(3);
      expect(usage.inputTokens).to.be.greaterThan(0);
      for (const vector of vectors) expect(lengthOf(vector)).to.be.closeTo(1, 1e-5);
      expect(new Set(vectors.map((vector) => vector.length)).size).to.equal(1);
      expect(vectors[2]).to.deep.equal(vectors[0]);
      const alone = await subject.provider.embed({
        model,
        texts: ["a red fox"],
        purpose: "document",
      });
      expect(alone.vectors[0]).to.deep.equal(vectors[0]);
      const dimensions = (await subject.provider.listModels()).find(
        (m) => m.name === model,
      )?.dimensions;
      if (dimensions !== 0) expect(vectors[0]?.length).to.equal(dimensions);
    });

    it("refuses to embed when it cannot, or the caller is gone", async () => {
      const { embeddingModel, chatModel } = subject;
      const model = typeof embeddingModel === "string" ? embeddingModel : chatModel;
      const input = { model, texts: ["x"], purpose: "document" as const };
      const gone = () => subject.provider.embed(input, AbortSignal.abort());
      if (typeof embeddingModel !== "string") {
        const reason = await reasonOf(() => subject.provider.embed(input));
        expect(["NO_EMBEDDER", "MODEL_NOT_FOUND"]).to.include(reason);
        return;
      }
      expect(await reasonOf(gone)).to.equal("CANCELLED");
      const other = { ...input, model: "no-such-model" };
      expect(await reasonOf(() => subject.provider.embed(other))).to.equal("MODEL_NOT_FOUND");
    });

    it("counts tokens, or says that it cannot", async () => {
      const texts = ["hello", "hello hello hello"];
      const counts = await subject.provider.countTokens(subject.chatModel, texts);
      if (counts === undefined) return;
      expect(counts).to.have.length(2);
      expect(counts[1]).to.be.greaterThan(counts[0] ?? 0);
    });

    it("serves several at once", async () => {
      const all = await Promise.all(
        [1, 2, 3].map(() => allPieces(chat(subject.longAnswer, { maxTokens: 3 }))),
      );
      for (const pieces of all) expect(pieces.at(-1)?.type).to.equal("end");
    });

    it("may be closed twice", async () => {
      await subject.provider.close();
      await subject.provider.close();
    });
  });
}

function given(context: Mocha.Context, value: string | Skip): string {
  if (typeof value === "string") return value;
  console.log(`      skipped: ${value.skip}`);
  return context.skip();
}

function lengthOf(vector: Float32Array): number {
  return Math.sqrt(vector.reduce((sum, value) => sum + value * value, 0));
}
