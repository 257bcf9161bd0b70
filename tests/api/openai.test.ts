/** The OpenAI dialect over a real port: answers, streams, errors before and within, clients that leave. */
import type { ServiceImpl } from "@connectrpc/connect";
import type { ChatService } from "@devmesh/gen/devmesh/inference/v1/chat_service_pb";
import { DevmeshError } from "@devmesh/mesh/errors";
import { expect } from "chai";
import { Bed } from "./bed.ts";

type Chat = Partial<ServiceImpl<typeof ChatService>>;

const route = { case: "route" as const, value: { provider: "local", model: "small" } };
const text = (value: string) => ({ delta: { piece: { case: "text" as const, value } } });
const end = { delta: { piece: { case: "end" as const, value: { finishReason: "stop" } } } };

describe("openai dialect on the wire", () => {
  let bed: Bed;
  afterEach(() => bed.close());

  async function post(chat: Chat, body: object, init: RequestInit = {}): Promise<Response> {
    bed = await Bed.open({ chat });
    return fetch(`${await bed.url()}/v1/chat/completions`, {
      method: "POST",
      headers: { authorization: `Bearer ${bed.ownerSecret}` },
      body: JSON.stringify({ messages: [{ role: "user", content: "hi" }], ...body }),
      ...init,
    });
  }

  /** The data of a stream of events. */
  const dataOf = (stream: string) =>
    stream
      .split("\n\n")
      .filter((part) => part.startsWith("data: "))
      .map((part) => part.slice(6));

  it("answers a call with one JSON document", async () => {
    const chat: Chat = {
      chat: async () => ({
        message: { role: "assistant", content: "hello" },
        finishReason: "stop",
        route: route.value,
      }),
    };
    const res = await post(chat, {});
    expect(res.status).to.equal(200);
    expect(await res.json()).to.deep.include({ model: "local/small", object: "chat.completion" });
  });

  it("asks who calls before it reads what is said, and leaves the refusal in the log", async () => {
    const headers = { authorization: "Bearer dm_nobody" };
    const refused = await post({}, {}, { method: "POST", headers, body: "{ no JSON" });
    expect(refused.status).to.equal(401);
    expect(refused.headers.get("x-request-id")).to.match(/^req_/);
    expect(await refused.json()).to.have.nested.property("error.code", "unauthenticated");
  });

  it("tells which methods its paths take", async () => {
    bed = await Bed.open();
    for (const [path, method, allow] of [
      ["/v1/chat/completions", "GET", "POST"],
      ["/v1/models", "POST", "GET, HEAD"],
      ["/openapi.json", "DELETE", "GET, HEAD"],
    ] as const) {
      const res = await fetch(`${await bed.url()}${path}`, { method });
      await res.text();
      expect([res.status, res.headers.get("allow")], path).to.deep.equal([405, allow]);
    }
  });

  it("streams chunks, and ends with [DONE]", async () => {
    const chat: Chat = {
      async *streamChat() {
        yield { delta: { piece: route } };
        yield text("a");
        yield end;
      },
    };
    const res = await post(chat, { stream: true });
    expect(res.headers.get("content-type")).to.contain("text/event-stream");
    const data = dataOf(await res.text());
    expect(data).to.have.length(4);
    expect(data.at(-1)).to.equal("[DONE]");
  });

  it("refuses with the status and the dialect's own shape", async () => {
    const chat: Chat = {
      async *streamChat() {
        yield { delta: undefined };
        throw new DevmeshError("INTERNAL", "never reached");
      },
      chat: async () => {
        throw new DevmeshError("RATE_LIMITED", "slow down", { retryAfterMs: 1_500 });
      },
    };
    const limited = await post(chat, {});
    expect([limited.status, limited.headers.get("retry-after")]).to.deep.equal([429, "2"]);
    expect(await limited.json()).to.deep.equal({
      error: {
        message: "slow down",
        type: "invalid_request_error",
        param: null,
        code: "rate_limited",
      },
    });
    const url = `${await bed.url()}/v1/chat/completions`;
    const body = JSON.stringify({ messages: [{ role: "user", content: "hi" }] });
    const nobody = await fetch(url, { method: "POST", body });
    expect([nobody.status, nobody.headers.get("www-authenticate")]).to.deep.equal([401, "Bearer"]);
  });

  it("refuses a stream that fails before its first piece with a status", async () => {
    const chat: Chat = {
      // biome-ignore lint/correctness/useYield: it fails before it has anything to say.
      async *streamChat() {
        throw new DevmeshError("MODEL_NOT_FOUND", "there is no such model");
      },
    };
    const res = await post(chat, { stream: true });
    expect(res.status).to.equal(404);
    expect(await res.json()).to.have.nested.property("error.code", "model_not_found");
  });

  it("tells an error within a stream as its last piece, without [DONE]", async () => {
    const chat: Chat = {
      async *streamChat() {
        yield { delta: { piece: route } };
        yield text("a");
        throw new DevmeshError("PROVIDER_UNAVAILABLE", "the model went away");
      },
    };
    const data = dataOf(await (await post(chat, { stream: true })).text());
    expect(JSON.parse(data.at(-1) ?? "")).to.deep.include({
      error: {
        message: "the model went away",
        type: "api_error",
        param: null,
        code: "provider_unavailable",
      },
    });
  });

  it("stops the model when the client goes away", async () => {
    const stopped = Promise.withResolvers<void>();
    const chat: Chat = {
      async *streamChat(_req, { signal }) {
        signal.addEventListener("abort", () => stopped.resolve());
        yield { delta: { piece: route } };
        yield text("a");
        await stopped.promise;
      },
    };
    const client = new AbortController();
    const res = await post(chat, { stream: true }, { signal: client.signal });
    const reader = res.body?.getReader();
    await reader?.read();
    client.abort();
    await stopped.promise;
  });
});
