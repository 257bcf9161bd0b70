/** One honest turn with a real small model behind a real server: it is too weak for the work, and the agent says so. */
import { expect } from "chai";
import { type Ollama, startOllama } from "../../scripts/parts/ollama.ts";
import { JobStatus } from "../../sdk/ts/src/node.ts";
import { notesOf } from "../e2e/agent-task.ts";
import { startUp, type Up, untilRunner } from "../e2e/up.ts";
import { log, need } from "../parts/need.ts";
import { tempFolder } from "../sdk/temp-folder.ts";

describe("the agent with Ollama's small model", function () {
  this.timeout(600_000);
  const folder = tempFolder();
  let ollama: Ollama | undefined;
  let up: Up | undefined;

  before(async function () {
    ollama = need(this, await startOllama({ log }));
    // A busy machine reads a prompt slowly; one that is asked again and again never ends.
    const env = { OLLAMA_BASE_URL: ollama.url, FIRST_TOKEN_TIMEOUT_MS: "500000" };
    up = await startUp({ dataDir: folder.path, env });
    await untilRunner(up);
  });
  after(async () => {
    await up?.stop();
    await ollama?.stop();
    folder[Symbol.dispose]();
  });

  async function run(task: string) {
    if (ollama === undefined || up === undefined) throw new Error("there is no Ollama");
    const { devmesh } = up;
    const model = `ollama/${ollama.chatModel}`;
    const agent = { task, model, maxSteps: 1, tools: ["write_file"] };
    const { jobId } = await devmesh.jobs.create({ agent, maxAttempts: 1 });
    const result = await devmesh.jobs.wait(jobId);
    const events = [];
    for await (const event of devmesh.jobs.events(jobId)) events.push(event);
    return { model, result, events };
  }

  it("has one turn, counted by the server, and ends at its limit or with its own word", async function () {
    if (ollama === undefined) return this.skip();
    const { model, result, events } = await run("Write the word ok into the file ok.txt.");
    expect(notesOf(events, "agent.turn"), result.message).to.have.length(1);
    expect(result.agent).to.include({ steps: 1, model, unpricedSteps: 0 });
    expect(Number(result.agent?.inputTokens)).to.be.greaterThan(200);
    // A model of this size seldom finishes; what it must not do is claim what is not so.
    if (result.outcome !== JobStatus.SUCCEEDED) expect(result.reason).to.equal("LIMIT");
  });

  it("refuses a task that does not fit into its window, by name, before it is asked", async function () {
    if (ollama === undefined) return this.skip();
    const { model, result, events } = await run(`Read this: ${"word ".repeat(3000)}`);
    expect(result).to.include({ outcome: JobStatus.FAILED, reason: "CONTEXT_LENGTH" });
    expect(result.message).to.include(`the model ${model} has a window of 4096 tokens`);
    expect(notesOf(events, "agent.turn")).to.deep.equal([]);
  });
});
