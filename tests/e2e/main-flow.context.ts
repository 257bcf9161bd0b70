/** Memory and models through the public door. */
import { expect } from "chai";
import OpenAI from "openai";
import { auditRows, refusal } from "./main-flow.jobs.ts";
import type { GetPlatform } from "./main-flow.ts";
import { answer, question } from "./script.ts";
import { until } from "./wait.ts";

const model = "scripted/ledger-replay";

/** The tests. */
export function contextTests(get: GetPlatform): void {
  it("ingests documents, finds them by word, and packs them within a budget", async () => {
    const { devmesh } = get();
    const documents = [
      { source: "notes/wombat.md", text: "# Wombats\n\nWombats dig burrows under the hill.\n" },
      { source: "src/burrow.ts", text: "export function digBurrow(depth: number) {}\n" },
      { source: "../outside.md", text: "never\n" },
    ];
    const outcomes = await devmesh.context.ingest(documents);
    expect(outcomes.map(({ state }) => state)).to.deep.equal(["added", "added", "refused"]);
    const again = await devmesh.context.ingest(documents);
    expect(again.map(({ state }) => state)).to.deep.equal(["unchanged", "unchanged", "refused"]);

    const { items } = await devmesh.context.search("wombats burrows", { topK: 5 });
    expect(items[0]).to.include({ source: "notes/wombat.md", collection: "notes" });
    expect(items[0]?.snippet).to.include("Wombats dig");
    const found = await until("the search is by meaning as well", async () => {
      const { receipt } = await devmesh.context.search("wombats");
      return receipt?.degraded === "" && receipt;
    });
    expect(found.arms).to.include.members(["keyword", "vector"]);

    const pack = await devmesh.context.pack("Where do wombats live?", { budgetTokens: 200 });
    expect(pack.tokens).to.be.lessThanOrEqual(200).and.greaterThan(0);
    expect(pack.text).to.include("Wombats dig burrows");
  });

  it("answers a question, whole and in pieces, and says who answered", async () => {
    const { devmesh } = get();
    const whole = await devmesh.llm.infer({ model, input: question });
    expect(whole).to.include({ text: answer, finishReason: "stop" });
    expect(whole.route).to.include({ provider: "scripted", model: "ledger-replay" });
    const texts: string[] = [];
    for await (const { piece } of devmesh.llm.stream({ model, input: question })) {
      if (piece.case === "text") texts.push(piece.value);
    }
    expect(texts.join("")).to.equal(answer);
    expect(texts.length).to.be.greaterThan(1);
    const missing = await refusal(devmesh.llm.infer({ model: "nobody/nothing", input: "x" }));
    expect(missing.reason).to.equal("MODEL_NOT_FOUND");
  });

  it("serves OpenAI's own client, streaming and not", async () => {
    const { url, token } = get();
    const openai = new OpenAI({ baseURL: `${url}/v1`, apiKey: token, maxRetries: 0 });
    const messages = [{ role: "user" as const, content: question }];
    const whole = await openai.chat.completions.create({ model, messages });
    expect(whole.choices[0]?.message.content).to.equal(answer);
    expect(whole.usage?.completion_tokens).to.be.greaterThan(0);
    let text = "";
    const stream = await openai.chat.completions.create({ model, messages, stream: true });
    for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? "";
    expect(text).to.equal(answer);
    const models = await openai.models.list();
    expect(models.data.map(({ id }) => id)).to.include(model);
    let refused: unknown;
    await openai.chat.completions
      .create({ model: "nobody/nothing", messages })
      .catch((error: unknown) => {
        refused = error;
      });
    expect(refused).to.be.instanceOf(OpenAI.NotFoundError);
  });

  it("audits what was ingested and asked", async () => {
    await until("the audit rows are there", async () => {
      const actions = (await auditRows(get())).map(({ action }) => action);
      return ["context.ingest", "llm.infer", "blob.put"].every((name) => actions.includes(name));
    });
  });
}
