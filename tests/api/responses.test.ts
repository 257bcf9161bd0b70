/** The Responses API over a real port: OpenAI's own client, refusals, junk, clients that leave. */
import type { ServiceImpl } from "@connectrpc/connect";
import type { ChatService } from "@devmesh/gen/devmesh/inference/v1/chat_service_pb";
import { DevmeshError } from "@devmesh/mesh/errors";
import { expect } from "chai";
import OpenAI from "openai";
import { jsonOf } from "../fuzz/messages.ts";
import { Random } from "../fuzz/random.ts";
import { responsesMessage } from "../fuzz/responses.ts";
import { Bed } from "./bed.ts";

type Chat = Partial<ServiceImpl<typeof ChatService>>;

const route = { case: "route" as const, value: { provider: "local", model: "small" } };
const call = { id: "c1", name: "add", arguments: '{"a":1}' };
const usage = { inputTokens: 3n, outputTokens: 4n };

const answers: Chat = {
  chat: async () => ({
    message: { role: "assistant", content: "hello", toolCalls: [call] },
    finishReason: "tool_calls",
    usage,
    route: route.value,
  }),
  async *streamChat() {
    yield { delta: { piece: route } };
    for (const value of ["hel", "lo"]) yield { delta: { piece: { case: "text" as const, value } } };
    yield { delta: { piece: { case: "toolCall" as const, value: call } } };
    const end = { finishReason: "tool_calls", usage };
    yield { delta: { piece: { case: "end" as const, value: end } } };
  },
};

describe("responses on the wire", () => {
  let bed: Bed;
  afterEach(() => bed.close());

  async function client(chat: Chat): Promise<OpenAI> {
    bed = await Bed.open({ chat });
    return new OpenAI({ baseURL: `${await bed.url()}/v1`, apiKey: bed.ownerSecret, maxRetries: 0 });
  }

  async function post(body: string, headers: Record<string, string> = {}): Promise<Response> {
    return fetch(`${await bed.url()}/v1/responses`, {
      method: "POST",
      headers: { authorization: `Bearer ${bed.ownerSecret}`, ...headers },
      body,
    });
  }

  it("serves OpenAI's own client, whole and streaming", async () => {
    const openai = await client(answers);
    const ask = { model: "coding", input: "hi", store: false };
    const whole = await openai.responses.create(ask);
    expect(whole.output_text).to.equal("hello");
    expect(whole.status).to.equal("completed");
    expect(whole.usage?.total_tokens).to.equal(7);
    expect(whole.output.map(({ type }) => type)).to.deep.equal(["message", "function_call"]);

    const types: string[] = [];
    for await (const event of await openai.responses.create({ ...ask, stream: true })) {
      types.push(event.type);
    }
    expect([types[0], types.at(-1)]).to.deep.equal(["response.created", "response.completed"]);

    // The client's own collector, which follows every event.
    const collected = await openai.responses.stream(ask).finalResponse();
    expect(collected.output_text).to.equal("hello");
    expect(collected.output).to.have.length(2);
    expect(collected.model).to.equal("local/small");
  });

  it("tells in a header which tools were left out", async () => {
    bed = await Bed.open({ chat: answers });
    const tools = [{ type: "web_search" }, { type: "namespace", tools: [] }, { type: "x\r\ny: z" }];
    for (const stream of [false, true]) {
      const res = await post(JSON.stringify({ input: "hi", tools, stream }));
      expect(res.status).to.equal(200);
      expect(res.headers.get("x-devmesh-tools-left-out")).to.equal("web_search, namespace, other");
      await res.text();
    }
  });

  it("refuses with the status and the name of what is wrong", async () => {
    const chat: Chat = {
      chat: async () => {
        throw new DevmeshError("MODEL_NOT_FOUND", "there is no such model");
      },
    };
    const openai = await client(chat);
    const refusal = await openai.responses.create({ model: "x", input: "hi" }).catch((e) => e);
    expect(refusal).to.be.instanceOf(OpenAI.NotFoundError);
    const wrong = await post('{"input":[{"type":"item_reference"}]}');
    expect(wrong.status).to.equal(400);
    expect(await wrong.json()).to.have.nested.property("error.param", "input[0].type");
    const large = await post(" ".repeat(21 * 1024 * 1024));
    expect(large.status).to.equal(413);
    expect(await large.json()).to.have.nested.property("error.code", "too_large");
    const got = await fetch(`${await bed.url()}/v1/responses`);
    expect([got.status, got.headers.get("allow")]).to.deep.equal([405, "POST"]);
    await got.text();
  });

  it("refuses a stream that fails before its first piece with a status", async () => {
    const chat: Chat = {
      // biome-ignore lint/correctness/useYield: it fails before it has anything to say.
      async *streamChat() {
        throw new DevmeshError("RATE_LIMITED", "slow down", { retryAfterMs: 1_500 });
      },
    };
    bed = await Bed.open({ chat });
    const res = await post('{"input":"hi","stream":true}');
    expect([res.status, res.headers.get("retry-after")]).to.deep.equal([429, "2"]);
    await res.text();
  });

  it("tells an error within a stream as response.failed", async () => {
    const chat: Chat = {
      async *streamChat() {
        yield { delta: { piece: route } };
        throw new DevmeshError("PROVIDER_UNAVAILABLE", "the model went away");
      },
    };
    bed = await Bed.open({ chat });
    const text = await (await post('{"input":"hi","stream":true}')).text();
    const last = text.trimEnd().split("\n\n").at(-1) ?? "";
    expect(last).to.match(/^event: response\.failed\n/);
    expect(last).to.contain("the model went away");
  });

  it("stops the model when the client goes away", async () => {
    const stopped = Promise.withResolvers<void>();
    const chat: Chat = {
      async *streamChat(_req, { signal }) {
        signal.addEventListener("abort", () => stopped.resolve());
        yield { delta: { piece: route } };
        await stopped.promise;
      },
    };
    const openai = await client(chat);
    const stream = await openai.responses.create({ model: "m", input: "hi", stream: true });
    for await (const { type } of stream) {
      if (type === "response.created") break;
    }
    stream.controller.abort();
    await stopped.promise;
  });

  it("answers 10,000 bodies of junk without breaking", async function () {
    this.timeout(120_000);
    bed = await Bed.open({ chat: answers });
    const statuses = new Map<number, number>();
    let next = 0;
    const sender = async () => {
      while (next < 10_000) {
        const number = next++;
        const random = new Random(7, number);
        const wrong = random.pick([0.02, 0.2, 0.6]);
        const text = jsonOf(responsesMessage({ random, wrong }));
        const body = random.chance(0.05) ? text.slice(0, random.below(text.length)) : text;
        const res = await post(body);
        const said = await res.text();
        statuses.set(res.status, (statuses.get(res.status) ?? 0) + 1);
        expect(res.status, `body ${number}: ${said.slice(0, 200)}`).to.be.lessThan(500);
        if (res.status === 200) continue;
        expect(JSON.parse(said), `body ${number}`).to.have.nested.property("error.message");
      }
    };
    await Promise.all(Array.from({ length: 16 }, sender));
    expect([...statuses.keys()].toSorted()).to.deep.equal([200, 400]);
    expect(statuses.get(200)).to.be.greaterThan(1_000);
  });
});
