/** The whole agent on the example: it fixes a real bug, against a backend that replays a recording. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect } from "chai";
import { runAgent } from "./agent-process.ts";
import { FakeBackend, type FakeBackendOptions } from "./fake-backend.ts";
import { ledgerFolder, TempFolders } from "./temp-folder.ts";

describe("the agent on examples/ledger", function () {
  this.timeout(60_000);
  const folders = new TempFolders();
  const backends: FakeBackend[] = [];
  let script: unknown;

  before(async () => {
    script = JSON.parse(await readFile(`${ledgerFolder}.conversation.json`, "utf8"));
  });
  afterEach(async () => {
    for (const backend of backends.splice(0)) await backend.close();
    await folders.clear();
  });

  async function listen(options: Omit<FakeBackendOptions, "script">, socketPath?: string) {
    const backend = await FakeBackend.listen({ script, ...options }, socketPath);
    backends.push(backend);
    return backend;
  }

  it("the example's tests fail before", async () => {
    expect(await testStatus(await folders.ledger())).to.equal(1);
  });

  it("fixes the bug over a Unix socket and proves it", async () => {
    const [cwd, scratch] = [await folders.ledger(), await folders.make()];
    const backend = await listen({}, join(scratch, "backend.sock"));
    const contextPack = { text: "Amounts were once read by hand.", items: [] };
    const end = await runAgent({ cwd, scratch, backendUrl: backend.url, input: { contextPack } });
    expect(end.lines).to.include("> edit_file").and.to.include("Done: parseAmount");
    expect(end.status).to.equal(0);
    expect(await testStatus(cwd)).to.equal(0);
    expect(await readFile(join(cwd, "src/amount.js"), "utf8")).to.include('text.startsWith("-")');

    expect(end.noise).to.equal("");
    expect(end.reports).to.have.length(1);
    const [report] = end.reports;
    expect(report).to.include({
      steps: 11,
      model: "scripted/ledger-replay",
      finished: true,
      stopped: "",
      message: "",
    });
    expect(report?.summary).to.include("all 6 tests pass");
    const turns = end.notes.filter((note) => note.payload.tool === "");
    const calls = end.notes.filter((note) => note.payload.tool !== "");
    expect(turns).to.have.length(11);
    expect(calls.map((note) => note.payload.tool)).to.deep.equal([
      "list_files",
      "run",
      "read_file",
      "read_file",
      "search",
      "read_file",
      "run",
      "edit_file",
      "read_file",
      "edit_file",
      "run",
      "finish",
    ]);
    for (const note of end.notes) {
      expect(note).to.include({
        level: "info",
        topic: note.payload.tool === "" ? "agent.turn" : "agent.call",
      });
      expect(note.payload).to.include.keys("step", "ms", "inputTokens", "outputTokens");
    }
    const sum = (name: string) =>
      turns.reduce((total, note) => total + Number(note.payload[name]), 0);
    expect(report?.inputTokens).to.equal(sum("inputTokens")).and.to.be.greaterThan(0);
    expect(report?.outputTokens).to.equal(sum("outputTokens")).and.to.be.greaterThan(0);
    expect(turns[0]?.payload).to.include({ provider: "scripted", model: "scripted/ledger-replay" });

    const [first] = backend.requests;
    expect(first?.model).to.equal("coding");
    expect(first?.stream_options).to.deep.equal({ include_usage: true });
    expect(first?.messages[0]?.content).to.include("Only `src/amount.js` knows how an");
    expect(first?.messages[1]?.content)
      .to.include("One test of this ledger fails")
      .and.to.include('["node","--test"]')
      .and.to.include("Amounts were once read by hand.");
  });

  it("does the same over TCP with a server that does not stream", async () => {
    const [cwd, scratch] = [await folders.ledger(), await folders.make()];
    const backend = await listen({ form: "whole" });
    const end = await runAgent({ cwd, scratch, backendUrl: backend.url });
    expect(end.status).to.equal(0);
    expect(end.reports[0]).to.include({ steps: 11, finished: true });
    expect(await testStatus(cwd)).to.equal(0);
  });

  it("asks again when an answer breaks off", async () => {
    const [cwd, scratch] = [await folders.ledger(), await folders.make()];
    const backend = await listen({ cutAnswers: 1 });
    const end = await runAgent({ cwd, scratch, backendUrl: backend.url });
    expect(end.status).to.equal(0);
    expect(end.reports[0]).to.include({ steps: 11, finished: true });
    expect(backend.requests).to.have.length(12);
  });

  it("fails loudly where reality differs from the recording", async () => {
    const [cwd, scratch] = [await folders.ledger(), await folders.make()];
    const path = join(cwd, "src/amount.js");
    const source = await readFile(path, "utf8");
    await writeFile(path, source.replace("whole < 0 ?", "found[1].startsWith('-') ?"));
    expect(await testStatus(cwd)).to.equal(0);
    const backend = await listen({});
    const end = await runAgent({
      cwd,
      scratch,
      backendUrl: backend.url,
      input: { maxRetries: 0 },
    });
    expect(end.status).to.equal(1);
    expect(end.reports[0]).to.include({ finished: false, stopped: "error" });
    expect(end.reports[0]?.message).to.include("PROVIDER_PROTOCOL").and.to.include("1275 !== 1185");
  });
});

/** The exit status of the example's own tests. */
async function testStatus(cwd: string): Promise<unknown> {
  const child = spawn(process.execPath, ["--test"], { cwd, stdio: "ignore" });
  const [status] = await once(child, "exit");
  return status;
}
