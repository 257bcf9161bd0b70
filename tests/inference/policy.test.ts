import { expect } from "chai";
import fc from "fast-check";
import {
  narrowed,
  noOverride,
  ordered,
  type Policy,
  type PolicyOverride,
  permits,
  policyModes,
  policyOf,
} from "../../services/inference/routing/policy.ts";
import { allOf, CountedProvider, call, fault, receiptIn, routed } from "./fakes.ts";

const mode = fc.constantFrom(...policyModes);
const policy: fc.Arbitrary<Policy> = fc.record({ mode, enableCloudFallback: fc.boolean() });
const names = ["ollama", "embedded", "scripted", "openai", "anthropic"] as const;
const override: fc.Arbitrary<PolicyOverride> = fc.record({
  mode: fc.oneof(mode, fc.constant("" as const)),
  provider: fc.constantFrom("", ...names),
});
const reasons = ["PROVIDER_UNAVAILABLE", "RATE_LIMITED", "CONTEXT_LENGTH", "CONTENT_FILTERED"];
const pieces = fc.oneof(
  fc.constant([{ text: "hi" }]),
  fc.constantFrom(...reasons).map((reason) => [fault(reason)]),
);
const provider = fc
  .record({ name: fc.constantFrom(...names), local: fc.boolean(), pieces })
  .map((p) => new CountedProvider(p.name, p.local, p.pieces));
const providers = fc.uniqueArray(provider, { selector: (p) => p.name, maxLength: 5 });
const model = fc.constantFrom("", "chat", "small", ...names.map((name) => `${name}/small`));
const roles = fc.record({
  chat: fc.array(fc.constantFrom(...names.map((name) => `${name}/small`)), { maxLength: 3 }),
  coding: fc.constant([]),
  embeddings: fc.constant([]),
});

describe("policy", () => {
  it("takes the mode from the config, else from the preference", () => {
    const base = { mode: undefined, localLlmPreferred: undefined, enableCloudFallback: true };
    expect(policyOf(base).mode).to.equal("local-first");
    expect(policyOf({ ...base, localLlmPreferred: false }).mode).to.equal("cloud-first");
    expect(policyOf({ ...base, mode: "local-only" }).mode).to.equal("local-only");
  });

  it("is never widened by a request", () => {
    fc.assert(
      fc.property(policy, override, (server, wish) => {
        const effective = narrowed(server, wish);
        expect(policyModes.indexOf(effective.mode)).to.be.at.most(policyModes.indexOf(server.mode));
        if (wish.mode === "") return;
        expect(policyModes.indexOf(effective.mode)).to.be.at.most(policyModes.indexOf(wish.mode));
      }),
    );
  });

  it("asks local ones first unless it is cloud-first, and keeps the order of equals", () => {
    const cloud = { name: "openai", local: false };
    const local = { name: "ollama", local: true };
    const other = { name: "embedded", local: true };
    const first = narrowed({ mode: "local-first", enableCloudFallback: true }, noOverride);
    expect(ordered(first, [cloud, local, other])).to.deep.equal([local, other, cloud]);
    const clouds = narrowed({ mode: "cloud-first", enableCloudFallback: true }, noOverride);
    expect(ordered(clouds, [local, cloud, other])).to.deep.equal([cloud, local, other]);
  });

  it("without fallback, asks a cloud only by its name", () => {
    const effective = narrowed({ mode: "local-first", enableCloudFallback: false }, noOverride);
    const cloud = { name: "openai", local: false };
    expect(permits(effective, cloud, false)).to.equal(false);
    expect(permits(effective, cloud, true)).to.equal(true);
  });

  it("under local-only never calls or lists a cloud provider, whatever is asked", async () => {
    await fc.assert(
      fc.asyncProperty(
        providers,
        policy,
        override,
        model,
        roles,
        fc.boolean(),
        async (all, server, wish, name, names, byServer) => {
          const only = { mode: "local-only" as const };
          const { router } = routed(all, {
            policy: byServer ? { ...server, ...only } : server,
            roles: names,
          });
          const request = call(name, byServer ? wish : { ...wish, ...only });
          const answered = await allOf(router.chat(request)).catch(() => undefined);
          for (const one of all.filter((p) => !p.local)) {
            expect(one.calls, one.name).to.equal(0);
            expect(one.lists, one.name).to.equal(0);
          }
          if (answered !== undefined) expect(receiptIn(answered).local).to.equal(true);
        },
      ),
      { numRuns: 300 },
    );
  });

  it("asks only the provider that the request names", async () => {
    await fc.assert(
      fc.asyncProperty(providers, policy, override, model, async (all, server, wish, name) => {
        fc.pre(wish.provider !== "");
        const { router } = routed(all, { policy: server });
        await allOf(router.chat(call(name, wish))).catch(() => undefined);
        for (const one of all) if (one.name !== wish.provider) expect(one.calls).to.equal(0);
      }),
    );
  });

  it("gives exactly one route, one end and one ledger row for whatever happens", async () => {
    await fc.assert(
      fc.asyncProperty(providers, policy, override, model, async (all, server, wish, name) => {
        const { router, ledger, store } = routed(all, { policy: server });
        const answered = await allOf(router.chat(call(name, wish))).catch(() => undefined);
        await ledger.close();
        const rows = await store.list({}, { limit: 10 });
        expect(rows).to.have.length(1);
        expect(rows[0]?.outcome === "ok").to.equal(answered !== undefined);
        if (answered === undefined) return;
        const kinds = answered.map((piece) => piece.type);
        expect(kinds[0]).to.equal("route");
        expect(kinds.at(-1)).to.equal("end");
        expect(kinds.filter((kind) => kind === "route" || kind === "end")).to.have.length(2);
      }),
    );
  });
});
