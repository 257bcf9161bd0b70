/** What every ledger store must do. Run it on each implementation, each time on an empty store. */
import { expect } from "chai";
import type { LedgerEntry, LedgerStore } from "./ledger-store.ts";

/** A row with what a test cares about. */
export function ledgerEntry(id: string, more: Partial<LedgerEntry> = {}): LedgerEntry {
  return {
    id,
    atMs: 1_700_000_000_000,
    operation: "chat",
    requestId: "req_1",
    principal: "tok_1",
    jobId: "",
    provider: "ollama",
    model: "small",
    inputTokens: 10,
    outputTokens: 5,
    exact: true,
    latencyMs: 42,
    outcome: "ok",
    fallbacks: 0,
    ...more,
  };
}

/** Describes the behaviour of one implementation. `open` gives an empty store. */
export function ledgerStoreSuite(
  name: string,
  open: (context: Mocha.Context) => Promise<LedgerStore>,
): void {
  describe(`ledger store ${name}`, () => {
    let store: LedgerStore | undefined;

    async function opened(context: Mocha.Context): Promise<LedgerStore> {
      store = await open(context);
      return store;
    }

    afterEach(async () => {
      await store?.close();
      store = undefined;
    });

    it("gives back what was appended, the newest first", async function () {
      const s = await opened(this);
      const a = ledgerEntry("a", { atMs: 1, jobId: "job_1", exact: false, fallbacks: 2 });
      const b = ledgerEntry("b", { atMs: 3, operation: "embed", outcome: "CONTEXT_LENGTH" });
      const c = ledgerEntry("c", { atMs: 3 });
      await s.append([a, b, c]);
      expect(await s.list({}, { limit: 10 })).to.deep.equal([c, b, a]);
    });

    it("counts an entry once, however often it is appended", async function () {
      const s = await opened(this);
      await s.append([ledgerEntry("a")]);
      await s.append([ledgerEntry("a", { inputTokens: 999 }), ledgerEntry("b")]);
      const [total] = await s.totals({});
      expect(total).to.deep.include({ calls: 2, inputTokens: 20 });
    });

    it("takes an empty batch", async function () {
      const s = await opened(this);
      await s.append([]);
      expect(await s.totals({})).to.deep.equal([]);
    });

    it("pages without gaps or repeats, also at equal times", async function () {
      const s = await opened(this);
      const ids = ["a", "b", "c", "d", "e", "B"];
      await s.append(ids.map((id, index) => ledgerEntry(id, { atMs: index < 3 ? 7 : 8 })));
      const seen: string[] = [];
      let before: LedgerEntry | undefined;
      do {
        const page = await s.list({}, { limit: 2, before });
        seen.push(...page.map((entry) => entry.id));
        before = page.at(-1);
      } while (before !== undefined);
      expect(seen).to.deep.equal(["e", "d", "B", "c", "b", "a"]);
    });

    it("sums by provider and model, failures apart", async function () {
      const s = await opened(this);
      await s.append([
        ledgerEntry("a"),
        ledgerEntry("b", { outcome: "PROVIDER_UNAVAILABLE", outputTokens: 0 }),
        ledgerEntry("c", { provider: "Openai", model: "big", inputTokens: 2 ** 40 }),
      ]);
      expect(await s.totals({})).to.deep.equal([
        {
          provider: "Openai",
          model: "big",
          calls: 1,
          failedCalls: 0,
          inputTokens: 2 ** 40,
          outputTokens: 5,
        },
        {
          provider: "ollama",
          model: "small",
          calls: 2,
          failedCalls: 1,
          inputTokens: 20,
          outputTokens: 5,
        },
      ]);
    });

    it("narrows by time, principal, job and provider", async function () {
      const s = await opened(this);
      await s.append([
        ledgerEntry("a", { atMs: 10 }),
        ledgerEntry("b", { atMs: 20, principal: "tok_2" }),
        ledgerEntry("c", { atMs: 30, jobId: "job_1", provider: "openai" }),
      ]);
      const ids = async (filter: Parameters<LedgerStore["list"]>[0]) =>
        (await s.list(filter, { limit: 10 })).map((entry) => entry.id);
      expect(await ids({ fromMs: 20 })).to.deep.equal(["c", "b"]);
      expect(await ids({ toMs: 20 })).to.deep.equal(["a"]);
      expect(await ids({ principal: "tok_2" })).to.deep.equal(["b"]);
      expect(await ids({ jobId: "job_1", provider: "openai" })).to.deep.equal(["c"]);
      expect((await s.totals({ provider: "openai" })).map((t) => t.calls)).to.deep.equal([1]);
    });
  });
}
