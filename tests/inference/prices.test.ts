/** What answers cost, and models whose window is too small for what is asked. */
import { DevmeshError, toDevmeshError } from "@devmesh/mesh/errors";
import { silentLogger } from "@devmesh/mesh/log";
import { TestClock } from "@devmesh/mesh/runtime";
import { expect } from "chai";
import { readInferenceConfig } from "../../services/inference/config.ts";
import { Ledger } from "../../services/inference/ledger/ledger.ts";
import { MemoryLedgerStore } from "../../services/inference/ledger/ledger-store.memory.ts";
import { parseScript } from "../../services/inference/providers/scripted/script.ts";
import { ScriptedProvider } from "../../services/inference/providers/scripted/scripted-provider.ts";
import { noOverride } from "../../services/inference/routing/policy.ts";
import { costMicros, Prices, parsePrices } from "../../services/inference/routing/prices.ts";
import { Registry } from "../../services/inference/routing/registry.ts";
import { Router } from "../../services/inference/routing/router.ts";

const usage = { inputTokens: 1000, outputTokens: 200 };
const turns = Array.from({ length: 3 }, () => ({ pieces: [{ text: "yes" }], usage }));

/** A router over two local models and one of a cloud, all of the role `coding`. */
function routerOf(prices: Prices): Router {
  const clock = new TestClock();
  const provider = (name: string, local: boolean, models: object[]) =>
    new ScriptedProvider({ name, local, script: parseScript({ models, turns }) });
  const providers = [
    provider("scripted", true, [
      { name: "small", roles: ["coding"], contextTokens: 4096 },
      { name: "wide", roles: ["coding"], contextTokens: 32_768 },
    ]),
    provider("openai", false, [{ name: "big", roles: ["coding"], contextTokens: 128_000 }]),
  ];
  const roles = { chat: [], coding: [], embeddings: [] };
  return new Router({
    registry: new Registry({ providers, roles, clock }),
    policy: { mode: "local-first", enableCloudFallback: true },
    ledger: new Ledger({ store: new MemoryLedgerStore(), clock, logger: silentLogger() }),
    limits: { answerTimeoutMs: 1000, firstTokenTimeoutMs: 1000, idleTimeoutMs: 1000 },
    clock,
    prices,
  });
}

async function ask(router: Router, model: string, contextTokens = 0) {
  const input = {
    ...{ model, tools: [], maxTokens: 0, stop: [], contextTokens },
    messages: [{ role: "user" as const, content: "?", toolCalls: [], toolCallId: "" }],
    ...{ temperature: undefined, topP: undefined, seed: undefined },
  };
  const caller = { principal: "dev", jobId: "", requestId: "r", logger: silentLogger() };
  let route = "";
  let attempts: readonly string[] = [];
  for await (const piece of router.chat({ input, override: noOverride, caller })) {
    if (piece.type === "route") {
      route = `${piece.receipt.provider}/${piece.receipt.model}`;
      attempts = piece.receipt.attempts.map(({ model: tried, reason }) => `${tried} ${reason}`);
    }
    if (piece.type === "end") return { route, attempts, cost: piece.usage.costMicros };
  }
  throw new Error("no end");
}

describe("prices", () => {
  it("are read from the environment, with every mistake", () => {
    const { prices } = readInferenceConfig({ MODEL_PRICES: "openai/gpt=1.25:10,anthropic/*=3:15" });
    expect(prices).to.deep.equal({
      "openai/gpt": { inputMicros: 1_250_000, outputMicros: 10_000_000 },
      "anthropic/*": { inputMicros: 3_000_000, outputMicros: 15_000_000 },
    });
    const wrong: string[] = [];
    parsePrices(["gpt=1:2", "openai/gpt=-1:2", "openai/gpt=1", "openai/x=1:2"], (item) => {
      wrong.push(item);
    });
    expect(wrong).to.deep.equal(["gpt=1:2", "openai/gpt=-1:2", "openai/gpt=1"]);
    expect(() => readInferenceConfig({ MODEL_PRICES: "cheap" })).to.throw(
      DevmeshError,
      "MODEL_PRICES",
    );
  });

  it("are of the exact name, else of the pattern; local models without one are free", () => {
    const prices = new Prices(parsePrices(["openai/gpt-*=1:2", "openai/gpt-5=3:4"], () => {}));
    const cloud = { name: "openai", local: false };
    expect(prices.of(cloud, "gpt-5")?.inputMicros).to.equal(3_000_000);
    expect(prices.of(cloud, "gpt-4")?.inputMicros).to.equal(1_000_000);
    expect(prices.of(cloud, "other")).to.equal(undefined);
    expect(prices.of({ name: "ollama", local: true }, "x")).to.deep.equal({
      ...{ inputMicros: 0, outputMicros: 0 },
    });
  });

  it("round up to the millionth", () => {
    const price = { inputMicros: 1, outputMicros: 0 };
    expect(costMicros({ ...usage, exact: true }, price)).to.equal(1);
  });

  it("stand in the usage of an answer", async () => {
    const router = routerOf(new Prices(parsePrices(["openai/big=2:10"], () => {})));
    expect(await ask(router, "openai/big")).to.include({ cost: 4000 });
    expect(await ask(router, "scripted/small")).to.include({ cost: 0 });
    expect((await ask(routerOf(new Prices()), "openai/big")).cost).to.equal(undefined);
  });
});

describe("windows", () => {
  it("that are too small are passed over", async () => {
    const router = routerOf(new Prices());
    expect((await ask(router, "coding")).route).to.equal("scripted/small");
    const wide = await ask(router, "coding", 20_000);
    expect(wide).to.deep.include({ route: "scripted/wide", attempts: ["small CONTEXT_LENGTH"] });
    expect((await ask(router, "coding", 100_000)).route).to.equal("openai/big");
  });

  it("of all that may answer too small: refused by name", async () => {
    const router = routerOf(new Prices());
    // A provider's models are known once they were asked for.
    await ask(router, "coding");
    const error = toDevmeshError(
      await ask(router, "scripted/small", 5000).catch((e: unknown) => e),
    );
    expect(error.reason).to.equal("CONTEXT_LENGTH");
    expect(error.message).to.equal(
      "scripted/small has a window of 4096 tokens, and 5000 are needed",
    );
    expect(error.metadata).to.include({ limit_tokens: "4096", needed_tokens: "5000" });
  });
});
