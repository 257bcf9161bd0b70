/** The model behind the backend: forms of answers, refusals, broken peers, and patience. */
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { expect } from "chai";
import { InputError } from "../../agents/coder/src/input.ts";
import { BackendHttp } from "../../agents/coder/src/model/backend-http.ts";
import { BackendModel } from "../../agents/coder/src/model/backend-model.ts";
import type { ModelTurn } from "../../agents/coder/src/model/chat-model.ts";
import { ModelError } from "../../agents/coder/src/model/model-error.ts";
import { PatientModel } from "../../agents/coder/src/model/patient-model.ts";
import { FakeClock, FakeModel, turnOf } from "./fake-model.ts";
import { TempFolders } from "./temp-folder.ts";

const question = {
  messages: [{ role: "user" as const, content: "hello" }],
  tools: [],
  maxTokens: 0,
};

describe("backend model", () => {
  const folders = new TempFolders();
  const ends: (() => Promise<void>)[] = [];
  const signal = new AbortController().signal;

  afterEach(async () => {
    for (const end of ends.splice(0)) await end();
    await folders.clear();
  });

  /** A model whose backend answers by this function. */
  async function modelOf(answer: (response: ServerResponse, path: string) => void, prefix = "") {
    const server = createServer((request, response) => {
      request.resume().once("end", () => answer(response, request.url ?? ""));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    const http = new BackendHttp({ backendUrl: `http://127.0.0.1:${port}${prefix}`, token: "t" });
    ends.push(async () => {
      http.close();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    });
    return new BackendModel({ http, model: "coding" });
  }

  const sse =
    (...events: readonly unknown[]) =>
    (response: ServerResponse) => {
      response.writeHead(200, { "content-type": "text/event-stream; charset=utf-8" });
      const rows = events.map((event) => `data: ${JSON.stringify(event)}\n\n`);
      response.end(`: keepalive\n\n${rows.join("")}data: [DONE]\n\n`);
    };
  const answerWith =
    (status: number, body: unknown, headers: Record<string, string> = {}) =>
    (response: ServerResponse) => {
      response.writeHead(status, { "content-type": "application/json", ...headers });
      response.end(typeof body === "string" ? body : JSON.stringify(body));
    };

  async function failureOf(asked: Promise<ModelTurn>): Promise<ModelError> {
    const error = await asked.then(
      () => undefined,
      (cause: unknown) => cause,
    );
    if (error instanceof ModelError) return error;
    throw new Error(`no ModelError but ${String(error)}`);
  }

  it("puts a streamed answer together", async () => {
    const parts = [
      { index: 1, id: "b", function: { name: "second", arguments: "{}" } },
      { index: 0, id: "a", function: { name: "first", arguments: '{"x"' } },
      { index: 0, function: { arguments: ":1}" } },
    ];
    const model = await modelOf(
      sse(
        { model: "p/m", choices: [{ index: 0, delta: { role: "assistant", content: "Hel" } }] },
        { choices: [{ index: 0, delta: { content: "lo" } }] },
        ...parts.map((part) => ({ choices: [{ index: 0, delta: { tool_calls: [part] } }] })),
        { choices: [{ index: 0, delta: {}, finish_reason: "tool_calls" }] },
        { choices: [], usage: { prompt_tokens: 7, completion_tokens: 3 } },
      ),
    );
    expect(await model.ask(question, signal)).to.deep.equal({
      text: "Hello",
      calls: [
        { id: "a", name: "first", arguments: '{"x":1}' },
        { id: "b", name: "second", arguments: "{}" },
      ],
      cut: false,
      inputTokens: 7,
      outputTokens: 3,
      exactUsage: true,
      model: "p/m",
    });
  });

  it("estimates usage where none is said", async () => {
    const model = await modelOf(
      sse({ choices: [{ index: 0, delta: { content: "abcdef" }, finish_reason: "length" }] }),
    );
    const turn = await model.ask(question, signal);
    expect(turn).to.include({ exactUsage: false, outputTokens: 2, cut: true, model: "" });
    expect(turn.inputTokens).to.be.greaterThan(10);
  });

  it("keeps a path of the backend's address", async () => {
    let asked = "";
    const model = await modelOf((response, path) => {
      asked = path;
      sse({ choices: [{ index: 0, delta: {}, finish_reason: "stop" }] })(response);
    }, "/devmesh/");
    await model.ask(question, signal);
    expect(asked).to.equal("/devmesh/v1/chat/completions");
  });

  it("reads refusals in every form", async () => {
    const cases: readonly [
      number,
      unknown,
      Partial<Pick<ModelError, "reason" | "retryable" | "retryAfterMs">>,
      string,
    ][] = [
      [
        429,
        { detail: "slow down", reason: "RATE_LIMITED", retryable: true },
        { reason: "RATE_LIMITED", retryable: true, retryAfterMs: 2000 },
        "the backend answered 429 RATE_LIMITED: slow down",
      ],
      [
        429,
        { detail: "spent", reason: "BUDGET_EXCEEDED", retryable: false },
        { reason: "BUDGET_EXCEEDED", retryable: false },
        "spent",
      ],
      [
        429,
        { error: { message: "spent", code: "budget_exceeded" } },
        { retryable: false },
        "spent",
      ],
      [503, { error: { message: "later", code: "draining" } }, { retryable: true }, "later"],
      [
        400,
        { error: { message: "too long", code: "context_length_exceeded" } },
        { reason: "CONTEXT_LENGTH_EXCEEDED", retryable: false },
        "too long",
      ],
      [503, "<html>down</html>", { reason: "", retryable: true }, "<html>down</html>"],
      [500, { error: "broken" }, { retryable: true }, "broken"],
      [401, "", { retryable: false }, "the backend answered 401"],
    ];
    for (const [status, body, facts, words] of cases) {
      const headers = { "retry-after": "2" };
      const model = await modelOf(answerWith(status, body, headers));
      const error = await failureOf(model.ask(question, signal));
      expect(error, JSON.stringify(body)).to.include(facts);
      expect(error.message).to.include(words);
    }
  });

  it("an error within the stream, a cut one and a strange one are errors", async () => {
    const text = { choices: [{ index: 0, delta: { content: "x" } }] };
    const inStream = { error: { code: "provider_unavailable", message: "the provider is gone" } };
    const gone = await failureOf((await modelOf(sse(text, inStream))).ask(question, signal));
    expect(gone).to.include({ reason: "PROVIDER_UNAVAILABLE", retryable: true });
    expect(gone.message).to.include("the provider is gone");
    const refused = { error: { code: "budget_exceeded", message: "spent" } };
    const spent = await failureOf((await modelOf(sse(text, refused))).ask(question, signal));
    expect(spent.retryable).to.equal(false);
    const cut = await failureOf((await modelOf(sse(text))).ask(question, signal));
    expect(cut).to.include({ retryable: true, message: "the answer broke off before its end" });
    const strange = await modelOf(answerWith(200, { choices: [] }));
    expect((await failureOf(strange.ask(question, signal))).message).to.include("no choice");
    const broken = await modelOf((response) => response.destroy());
    expect((await failureOf(broken.ask(question, signal))).retryable).to.equal(true);
  });

  it("says that nobody is there, on a port and on a socket", async () => {
    const folder = await folders.make();
    for (const backendUrl of ["http://127.0.0.1:1", `unix:${join(folder, "none.sock")}`]) {
      const http = new BackendHttp({ backendUrl, token: "t" });
      const model = new BackendModel({ http, model: "m" });
      const error = await failureOf(model.ask(question, signal));
      expect(error.message).to.match(/could not be reached: .*(ECONNREFUSED|ENOENT)/);
      expect(error.retryable).to.equal(true);
    }
  });

  it("does not wait for ever for a backend that is silent", async () => {
    const server = createServer(() => {});
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    const backendUrl = `http://127.0.0.1:${port}`;
    const http = new BackendHttp({ backendUrl, token: "t", idleTimeoutMs: 20 });
    const error = await failureOf(new BackendModel({ http, model: "m" }).ask(question, signal));
    expect(error).to.include({ retryable: true });
    expect(error.message).to.include("no byte for 0.02 s");
    http.close();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });

  it("refuses addresses that are none", () => {
    for (const backendUrl of ["unix:relative", "ftp://host", "host:80", "nonsense"]) {
      expect(() => new BackendHttp({ backendUrl, token: "t" }), backendUrl).to.throw(InputError);
    }
  });

  it("ends at once when it must stop: before, while it waits and while it reads", async () => {
    const reason = new Error("stopped");
    const never = await modelOf(() => {});
    const slow = await modelOf((response) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.write('data: {"choices":[{"index":0,"delta":{"content":"x"}}]}\n\n');
      stops.at(-1)?.abort(reason);
    });
    const stops: AbortController[] = [];
    for (const model of [never, slow]) {
      const stop = new AbortController();
      stops.push(stop);
      const asked = model.ask(question, stop.signal).catch((error: unknown) => error);
      if (model === never) stop.abort(reason);
      expect(await asked).to.equal(reason);
    }
    const late = never.ask(question, AbortSignal.abort(reason)).catch((error: unknown) => error);
    expect(await late).to.equal(reason);
  });
});

describe("patient model", () => {
  const busy = (retryAfterMs?: number) =>
    new ModelError("busy", { reason: "RATE_LIMITED", retryable: true, retryAfterMs });
  const patient = (model: FakeModel, clock: FakeClock, maxRetries = 3) =>
    new PatientModel({ model, maxRetries, clock, random: () => 1, onRetry: () => {} });
  const { signal } = new AbortController();

  it("waits longer each time, at least as long as it is told", async () => {
    const clock = new FakeClock();
    const model = new FakeModel([busy(), busy(5000), busy(), turnOf({ text: "at last" })]);
    expect((await patient(model, clock).ask(question, signal)).text).to.equal("at last");
    expect(clock.sleeps).to.deep.equal([500, 5000, 2000]);
  });

  it("gives up after its retries, at once on final refusals, and on waits that are too long", async () => {
    const final = new ModelError("no", { reason: "POLICY_REFUSED", retryable: false });
    const cases: readonly [FakeModel, number][] = [
      [new FakeModel([busy()]), 3],
      [new FakeModel([final]), 0],
      [new FakeModel([busy(3_600_000)]), 0],
    ];
    for (const [model, sleeps] of cases) {
      const clock = new FakeClock();
      const error = await patient(model, clock)
        .ask(question, signal)
        .catch((cause: unknown) => cause);
      expect(error).to.be.instanceOf(ModelError);
      expect(clock.sleeps).to.have.length(sleeps);
      expect(model.questions).to.have.length(sleeps + 1);
    }
  });

  it("does not grow beyond its cap", async () => {
    const clock = new FakeClock();
    await patient(new FakeModel([busy()]), clock, 12)
      .ask(question, signal)
      .catch(() => {});
    expect(Math.max(...clock.sleeps)).to.equal(30_000);
  });
});
