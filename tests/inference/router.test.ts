import { expect } from "chai";
import { errorOf, reasonOf } from "../../services/inference/providers/provider.suite.ts";
import { settled } from "../settled.ts";
import { allOf, CountedProvider, call, fault, receiptIn, routed } from "./fakes.ts";

describe("router", () => {
  it("asks the local provider first and says why", async () => {
    const local = new CountedProvider("ollama", true);
    const cloud = new CountedProvider("openai", false);
    const { router } = routed([cloud, local]);
    const pieces = await allOf(router.chat(call("")));
    expect(receiptIn(pieces)).to.deep.include({ provider: "ollama", local: true, attempts: [] });
    expect(receiptIn(pieces).why).to.include("local-first");
    expect(cloud.calls).to.equal(0);
  });

  it("goes by the deployment's mode as it holds now, wider or narrower than at the start", async () => {
    const answeredBy = async (
      deploymentMode: "local-only" | "cloud-first",
      mode: "" | "local-only",
    ) => {
      const local = new CountedProvider("ollama", true);
      const cloud = new CountedProvider("openai", false);
      const { router } = routed([local, cloud]);
      const override = { mode, provider: "" };
      const pieces = await allOf(router.chat({ ...call("chat"), deploymentMode, override }));
      return receiptIn(pieces).provider;
    };
    expect(await answeredBy("cloud-first", "")).to.equal("openai");
    expect(await answeredBy("cloud-first", "local-only")).to.equal("ollama");
    expect(await answeredBy("local-only", "")).to.equal("ollama");
    const cloud = new CountedProvider("openai", false);
    const { router } = routed([cloud]);
    const override = { mode: "cloud-first" as const, provider: "" };
    const widened = { ...call("chat"), deploymentMode: "local-only" as const, override };
    expect(await reasonOf(() => allOf(router.chat(widened)))).to.equal("POLICY_REFUSED");
  });

  it("falls back before the first token and records the attempt", async () => {
    const local = new CountedProvider("ollama", true, [fault("PROVIDER_UNAVAILABLE")]);
    const cloud = new CountedProvider("openai", false);
    const { router, ledger, store } = routed([local, cloud]);
    const receipt = receiptIn(await allOf(router.chat(call("chat"))));
    expect(receipt.provider).to.equal("openai");
    expect(receipt.attempts.map((attempt) => attempt.reason)).to.deep.equal([
      "PROVIDER_UNAVAILABLE",
    ]);
    await ledger.close();
    const [row] = await store.list({}, { limit: 1 });
    expect(row).to.deep.include({
      provider: "openai",
      fallbacks: 1,
      outcome: "ok",
      jobId: "job_1",
    });
  });

  it("does not fall back once a token was sent", async () => {
    const broken = [{ text: "half" }, fault("PROVIDER_UNAVAILABLE")];
    const local = new CountedProvider("ollama", true, broken);
    const cloud = new CountedProvider("openai", false);
    const { router, ledger, store } = routed([local, cloud]);
    const seen: string[] = [];
    const reason = await reasonOf(async () => {
      for await (const piece of router.chat(call("chat"))) seen.push(piece.type);
    });
    expect(reason).to.equal("PROVIDER_UNAVAILABLE");
    expect(seen).to.deep.equal(["route", "text"]);
    expect(cloud.calls).to.equal(0);
    await ledger.close();
    const [row] = await store.list({}, { limit: 1 });
    expect(row).to.deep.include({ provider: "ollama", exact: false });
    expect(row?.outputTokens).to.be.greaterThan(0);
  });

  for (const reason of ["CONTEXT_LENGTH", "CONTENT_FILTERED", "INVALID_FIELD"]) {
    it(`never tries another provider after ${reason}`, async () => {
      const local = new CountedProvider("ollama", true, [fault(reason)]);
      const cloud = new CountedProvider("openai", false);
      const { router } = routed([local, cloud]);
      expect(await reasonOf(() => allOf(router.chat(call("chat"))))).to.equal(reason);
      expect(cloud.calls).to.equal(0);
    });
  }

  it("says all attempts when every provider failed", async () => {
    const busy = fault("RATE_LIMITED", { retryAfterMs: 7000 });
    const local = new CountedProvider("ollama", true, [fault("PROVIDER_PROTOCOL")]);
    const cloud = new CountedProvider("openai", false, [busy]);
    const { router } = routed([local, cloud]);
    const error = await errorOf(() => allOf(router.chat(call("chat"))));
    expect(error.reason).to.equal("RATE_LIMITED");
    expect(error.retryAfterMs).to.equal(7000);
    expect(error.metadata.attempts).to.equal(
      "ollama/small: PROVIDER_PROTOCOL; openai/small: RATE_LIMITED",
    );
  });

  it("goes on to the next when the first token does not come in time", async () => {
    const local = new CountedProvider("ollama", true, [{ hang: true }]);
    const cloud = new CountedProvider("openai", false);
    const { router, clock } = routed([local, cloud]);
    const answer = allOf(router.chat(call("chat")));
    await settled();
    clock.advance(500);
    await settled();
    clock.advance(500);
    const receipt = receiptIn(await answer);
    expect(receipt.provider).to.equal("openai");
    expect(receipt.attempts[0]?.message).to.include("no first token");
  });

  it("fails a stream that falls silent, with the time of the consumer not counted", async () => {
    const local = new CountedProvider("ollama", true, [
      { text: "a" },
      { text: "b" },
      { hang: true },
    ]);
    const { router, clock } = routed([local]);
    const stream = router.chat(call("chat"));
    await stream.next();
    await stream.next();
    clock.advance(10_000);
    await settled();
    expect((await stream.next()).value).to.deep.equal({ type: "text", text: "b" });
    const silent = errorOf(() => stream.next());
    await settled();
    clock.advance(500);
    await settled();
    clock.advance(500);
    expect((await silent).message).to.include("fell silent");
  });

  it("ends a request at its limit, however many providers are left", async () => {
    const local = new CountedProvider("ollama", true, [{ hang: true }]);
    const cloud = new CountedProvider("openai", false);
    const limits = { firstTokenTimeoutMs: 1_000, idleTimeoutMs: 500, answerTimeoutMs: 400 };
    const { router, clock } = routed([local, cloud], { limits });
    const failed = reasonOf(() => allOf(router.chat(call("chat"))));
    await settled();
    clock.advance(400);
    expect(await failed).to.equal("DEADLINE_EXCEEDED");
    expect(cloud.calls).to.equal(0);
  });

  it("spares a provider that keeps failing, then tries it with one request", async () => {
    const local = new CountedProvider("ollama", true, [fault("PROVIDER_UNAVAILABLE")]);
    const cloud = new CountedProvider("openai", false);
    const { router, clock } = routed([local, cloud], { breakerFailures: 2, breakerOpenMs: 100 });
    for (let i = 0; i < 5; i++) await allOf(router.chat(call("chat")));
    expect(local.calls).to.equal(2);
    const spared = receiptIn(await allOf(router.chat(call("chat"))));
    expect(spared.attempts[0]?.message).to.include("spared");
    local.pieces = [{ text: "back" }];
    clock.advance(100);
    expect(receiptIn(await allOf(router.chat(call("chat")))).provider).to.equal("ollama");
    expect(local.calls).to.equal(3);
  });

  it("aborts the provider when the caller goes, and writes the call down as cancelled", async () => {
    const local = new CountedProvider("ollama", true, [{ text: "a" }, { hang: true }]);
    const { router, ledger, store } = routed([local]);
    const caller = new AbortController();
    const reason = await reasonOf(async () => {
      for await (const piece of router.chat(call("chat"), caller.signal)) {
        if (piece.type === "text") caller.abort();
      }
    });
    expect(reason).to.equal("CANCELLED");
    await ledger.close();
    expect((await store.list({}, { limit: 1 }))[0]?.outcome).to.equal("CANCELLED");
  });

  it("writes a call down as cancelled when the consumer leaves the loop", async () => {
    const local = new CountedProvider("ollama", true, [{ text: "a" }, { text: "b" }]);
    const { router, ledger, store } = routed([local]);
    for await (const piece of router.chat(call("chat"))) if (piece.type === "text") break;
    await ledger.close();
    expect((await store.list({}, { limit: 1 }))[0]?.outcome).to.equal("CANCELLED");
  });

  it("embeds, with fallback and receipt", async () => {
    const cloud = new CountedProvider("openai", false);
    const local = new CountedProvider("embedded", true);
    const { router } = routed([cloud, local]);
    const { caller, override } = call("");
    const input = { model: "", texts: ["a", "b"], purpose: "document" as const };
    const answer = await router.embed({ input, override, caller });
    expect(answer.receipt).to.deep.include({ provider: "embedded", model: "vectors" });
    expect(answer.vectors).to.have.length(2);
  });

  it("refuses by policy, by name and for want of an embedder", async () => {
    const cloud = new CountedProvider("openai", false);
    const only = { mode: "local-only" as const, provider: "" };
    const { router } = routed([cloud]);
    expect(await reasonOf(() => allOf(router.chat(call("", only))))).to.equal("POLICY_REFUSED");
    expect(await reasonOf(() => allOf(router.chat(call("openai/small", only))))).to.equal(
      "POLICY_REFUSED",
    );
    expect(await reasonOf(() => allOf(router.chat(call("unheard-of"))))).to.equal(
      "MODEL_NOT_FOUND",
    );
    const { router: empty } = routed([]);
    const { caller, override } = call("");
    const input = { model: "", texts: ["a"], purpose: "document" as const };
    expect(await reasonOf(() => empty.embed({ input, override, caller }))).to.equal("NO_EMBEDDER");
  });

  it("does not ask for the list of models on every call", async () => {
    const local = new CountedProvider("ollama", true);
    const { router, clock } = routed([local]);
    for (let i = 0; i < 20; i++) await allOf(router.chat(call("chat")));
    expect(local.lists).to.equal(1);
    clock.advance(30_000);
    await allOf(router.chat(call("chat")));
    await allOf(router.chat(call("chat")));
    expect(local.lists).to.equal(2);
  });
});
