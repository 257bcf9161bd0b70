import { expect } from "chai";
import { type Ollama, startOllama } from "../../scripts/parts/ollama.ts";
import { log, need } from "./need.ts";

describe("the Ollama part", function () {
  this.timeout(600_000);
  let ollama: Ollama | undefined;

  before(async function () {
    ollama = need(this, await startOllama({ log }));
  });

  after(async () => {
    await ollama?.stop();
  });

  it("talks, on one thread", async function () {
    if (!ollama) return this.skip();
    const { url, chatModel } = ollama;
    const shown = await post(url, "/api/show", { model: chatModel });
    expect(shown.parameters).to.match(/num_thread\s+1\b/);
    expect(shown.capabilities).to.include.members(["completion", "tools"]);
    const messages = [{ role: "user", content: "What is the capital of France?" }];
    const answer = await post(url, "/v1/chat/completions", {
      model: chatModel,
      messages,
      // This interface of the server does not heed the model's own temperature.
      temperature: 0,
      max_tokens: 32,
    });
    const choices = answer.choices as { message: { content: string } }[];
    expect(choices[0]?.message.content).to.contain("Paris");
  });

  it("takes a request with tools and their results", async function () {
    if (!ollama) return this.skip();
    const call = { function: { name: "now", arguments: {} } };
    const answer = await post(ollama.url, "/api/chat", {
      model: ollama.chatModel,
      stream: false,
      options: { num_predict: 8 },
      tools: [
        {
          type: "function",
          function: { name: "now", description: "Tells the time", parameters: { type: "object" } },
        },
      ],
      messages: [
        { role: "user", content: "What time is it?" },
        { role: "assistant", content: "", tool_calls: [call] },
        { role: "tool", content: "noon" },
      ],
    });
    expect(answer).to.have.property("done", true);
  });

  it("embeds", async function () {
    if (!ollama?.embeddingModel) return this.skip();
    const answer = await post(ollama.url, "/api/embed", {
      model: ollama.embeddingModel,
      input: ["a cat", "a kitten", "a tax form"],
    });
    const [cat, kitten, form] = answer.embeddings as number[][];
    if (!cat || !kitten || !form) throw new Error("three embeddings were asked for");
    expect(cat).to.have.length(384);
    expect(dot(cat, kitten)).to.be.greaterThan(dot(cat, form));
  });
});

async function post(url: string, path: string, body: object): Promise<Record<string, unknown>> {
  const answer = await fetch(`${url}${path}`, { method: "POST", body: JSON.stringify(body) });
  const text = await answer.text();
  expect(answer.status, text).to.equal(200);
  return JSON.parse(text);
}

function dot(a: number[], b: number[]): number {
  return a.reduce((sum, value, index) => sum + value * (b[index] ?? 0), 0);
}
