/** The window of a model: known before the first question, refused by name where it is too small. */
import { expect } from "chai";
import { ModelError } from "../../agents/coder/src/model/model-error.ts";
import { chooseWindow, type ListedModel } from "../../agents/coder/src/model/model-window.ts";
import { runAgent } from "./agent-process.ts";
import { FakeBackend } from "./fake-backend.ts";
import { TempFolders } from "./temp-folder.ts";

const model = (name: string, window: number, more: Partial<ListedModel> = {}): ListedModel => ({
  ...{ provider: "ollama", name, roles: ["coding"], window, toolCalls: "" },
  ...more,
});
const needs = { promptTokens: 3000, wantedTokens: 40_000 };

describe("the window of a model", () => {
  it("is as wide as the conversation wants and all that may answer have", () => {
    const listed = [model("a", 131_072), model("b", 16_384), model("tiny", 2048)];
    expect(chooseWindow("ollama/a", listed, needs).contextTokens).to.equal(40_000);
    expect(chooseWindow("coding", listed, needs).contextTokens).to.equal(16_384);
    expect(chooseWindow("coding", listed, needs).maxBytes).to.equal((16_384 - 1536) * 3);
  });

  it("is the model's own where nobody knows it", () => {
    for (const listed of [undefined, [], [model("other", 10)], [model("a", 0)]]) {
      const facts = chooseWindow("ollama/a", listed, needs);
      expect(facts).to.deep.include({ contextTokens: 0, maxBytes: Infinity, hasToolCalls: true });
    }
  });

  it("that is too small is refused with the model's name and what is needed", () => {
    const listed = [model("tiny", 2048), model("small", 4096)];
    const refuse = () => chooseWindow("coding", listed, needs);
    expect(refuse)
      .to.throw(ModelError, "the model ollama/small has a window of 4096 tokens")
      .with.property("reason", "CONTEXT_LENGTH");
    expect(refuse).to.throw("this task needs at least 4536");
  });

  it("tells models that take no tools", () => {
    const none = { toolCalls: "none" };
    expect(chooseWindow("a", [model("a", 0, none)], needs).hasToolCalls).to.equal(false);
    const mixed = [model("a", 0, none), model("b", 0)];
    expect(chooseWindow("coding", mixed, needs).hasToolCalls).to.equal(true);
  });

  describe("in the agent's process", () => {
    const folders = new TempFolders();
    afterEach(() => folders.clear());

    it("is asked for before anything else; a small one ends the work at once", async () => {
      const models = [
        { name: "tiny", provider: "scripted", roles: ["coding"], contextTokens: 1024 },
      ];
      const backend = await FakeBackend.listen({ script: { turns: [] }, models });
      const [cwd, scratch] = [await folders.make(), await folders.make()];
      const { status, reports } = await runAgent({ cwd, scratch, backendUrl: backend.url });
      await backend.close();
      expect(status).to.equal(1);
      expect(reports[0]).to.include({ stopped: "error", reason: "CONTEXT_LENGTH", steps: 0 });
      expect(reports[0]?.message).to.include("scripted/tiny has a window of 1024 tokens");
      expect(backend.requests).to.deep.equal([]);
    }).timeout(30_000);
  });
});
