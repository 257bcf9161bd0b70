/** The agent's process where things go wrong: every end has one report and leaves nothing running. */
import { once } from "node:events";
import { mkdir, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect } from "chai";
import { runAgent, startAgent } from "./agent-process.ts";
import { FakeBackend, type FakeBackendOptions } from "./fake-backend.ts";
import { until, untilFile, untilGone } from "./processes.ts";
import { TempFolders } from "./temp-folder.ts";

const task = "do something";
const call = (name: string, args: unknown) => ({
  pieces: [{ toolCall: { name, arguments: args } }],
});
const finish = call("finish", { summary: "done" });

describe("the agent's process", function () {
  this.timeout(60_000);
  const folders = new TempFolders();
  const backends: FakeBackend[] = [];
  let cwd: string;
  let scratch: string;

  beforeEach(async () => {
    cwd = await folders.make();
    scratch = await folders.make();
  });
  afterEach(async () => {
    for (const backend of backends.splice(0)) await backend.close();
    await folders.clear();
  });

  async function listen(turns: readonly unknown[], options: Partial<FakeBackendOptions> = {}) {
    const backend = await FakeBackend.listen({ script: { turns }, ...options });
    backends.push(backend);
    return backend;
  }

  async function run(turns: readonly unknown[], input: Record<string, unknown> = {}) {
    const backend = await listen(turns);
    const end = await runAgent({
      cwd,
      scratch,
      backendUrl: backend.url,
      input: { task, ...input },
    });
    expect(end.noise).to.equal("");
    expect(end.reports).to.have.length(1);
    return { ...end, report: end.reports[0], backend };
  }

  it("stops at its limits with status 1", async () => {
    const list = call("list_files", {});
    const steps = await run([list, list, list], { maxSteps: 2 });
    expect(steps.status).to.equal(1);
    expect(steps.report).to.include({ stopped: "steps", steps: 2, finished: false });
    expect(steps.lines).to.include("Stopped: the limit of 2 model turns is reached");
    const tokens = await run([list, list, list], { maxTokens: 10 });
    expect(tokens.report).to.include({ stopped: "tokens", steps: 1 });
    const time = await run([{ pieces: [{ hang: true }] }], { maxSeconds: 1 });
    expect(time.status).to.equal(1);
    expect(time.report).to.include({ stopped: "time", steps: 0 });
  });

  it("answers malformed calls and goes on", async () => {
    const bad = call("read_file", "{not json");
    const { status, report, notes, backend } = await run([
      bad,
      { when: { toolResult: "not valid JSON" }, ...call("explode", {}) },
      { when: { toolResult: "there is no tool" }, ...call("read_file", {}) },
      { when: { toolResult: "path: is missing" }, ...finish },
    ]);
    expect(status).to.equal(0);
    expect(report).to.include({ finished: true, steps: 4 });
    expect(notes.filter(({ level }) => level === "warn")).to.have.length(3);
    expect(backend.requests).to.have.length(4);
    const stubborn = await run([bad, bad, bad, bad, bad, bad]);
    expect(stubborn.report).to.include({ stopped: "error", steps: 5 });
  });

  it("nudges a model that only talks, then stops", async () => {
    const talk = { pieces: [{ text: "Looks fine to me." }] };
    const { status, report, backend } = await run([talk, talk, talk, talk]);
    expect(status).to.equal(1);
    expect(report).to.include({
      stopped: "error",
      summary: "Looks fine to me.",
      finished: false,
      steps: 3,
    });
    expect(backend.requests).to.have.length(3);
  });

  it("tries again after faults that pass, and ends on those that do not", async () => {
    const fault = (reason: string) => ({ pieces: [{ fault: { reason, message: "no luck" } }] });
    const final = await run([fault("BUDGET_EXCEEDED")]);
    expect(final.report).to.include({ stopped: "error", steps: 0 });
    expect(final.report?.message).to.include("429 BUDGET_EXCEEDED").and.to.include("no luck");
    expect(final.backend.requests).to.have.length(1);
    const passing = await run([fault("RATE_LIMITED")]);
    expect(passing.backend.requests).to.have.length(2);
    expect(passing.report?.message).to.include("RATE_LIMITED");
    expect(passing.lines).to.include("(again in ");
  });

  it("reports a backend that is away, and a token that it does not know", async () => {
    const gone = await listen([]);
    const { url } = gone;
    await gone.close();
    backends.pop();
    const away = await runAgent({ cwd, scratch, backendUrl: url, input: { task } });
    expect(away.status).to.equal(1);
    expect(away.reports).to.have.length(1);
    expect(away.reports[0]).to.include({ stopped: "error", steps: 0, model: "" });
    expect(away.reports[0]?.message).to.include("could not be reached");
    const other = await listen([finish], { token: "another" });
    const refused = await runAgent({ cwd, scratch, backendUrl: other.url, input: { task } });
    expect(refused.reports[0]?.message).to.include("401 UNAUTHENTICATED");
  });

  it("reports settings and inputs that cannot be used", async () => {
    const backendUrl = "http://127.0.0.1:1";
    const usual = { cwd, scratch, backendUrl };
    const cases: readonly [Parameters<typeof runAgent>[0], string][] = [
      [{ ...usual, env: { BACKEND_URL: "" } }, "BACKEND_URL is not set"],
      [{ ...usual, env: { BACKEND_URL: "nonsense" } }, "BACKEND_URL: must be"],
      [{ ...usual, env: { DEVMESH_AGENT_INPUT: "/none" } }, "DEVMESH_AGENT_INPUT"],
      [{ ...usual, rawInput: "{" }, "not readable as JSON"],
      [{ ...usual, input: { task: "" } }, "task: must not be empty"],
      [{ ...usual, input: { task, tools: ["shell"] } }, "there is no tool shell"],
    ];
    for (const [setup, words] of cases) {
      const end = await runAgent(setup);
      expect(end.status, words).to.equal(1);
      expect(end.noise).to.equal("");
      expect(end.reports).to.have.length(1);
      expect(end.reports[0]).to.include({ stopped: "error", steps: 0, finished: false });
      expect(end.reports[0]?.message).to.include(words);
    }
  });

  it("on SIGTERM ends what it runs, and reports", async () => {
    const argv = ["sh", "-c", "trap '' TERM; sleep 1000 & echo $! > pid; wait"];
    const backend = await listen([call("run", { argv })]);
    const { child, end } = await startAgent({
      cwd,
      scratch,
      backendUrl: backend.url,
      input: { task },
    });
    const pid = Number(await untilFile(join(cwd, "pid")));
    child.kill("SIGTERM");
    const { status, reports } = await end;
    expect(status).to.equal(1);
    expect(reports).to.have.length(1);
    expect(reports[0]).to.include({ stopped: "error", message: "stopped by SIGTERM", steps: 1 });
    await untilGone(pid);
  });

  it("on SIGTERM leaves a model that does not answer", async () => {
    const backend = await listen([{ pieces: [{ hang: true }] }]);
    const { child, end } = await startAgent({
      cwd,
      scratch,
      backendUrl: backend.url,
      input: { task },
    });
    await until(() => backend.requests.length === 1);
    child.kill("SIGTERM");
    const { status, reports } = await end;
    expect(status).to.equal(1);
    expect(reports[0]).to.include({ message: "stopped by SIGTERM", steps: 0 });
  });

  it("ends when nobody reads its output any more", async () => {
    const argv = ["sh", "-c", "echo here > begun; while [ ! -e go ]; do sleep 0.05; done"];
    const backend = await listen([call("run", { argv }), { pieces: [{ hang: true }] }]);
    const { child, end } = await startAgent({
      cwd,
      scratch,
      backendUrl: backend.url,
      input: { task },
    });
    const exited = once(child, "exit");
    // Its output ends too early on purpose: only the exit counts.
    const cut = end.catch(() => undefined);
    await untilFile(join(cwd, "begun"));
    child.stdout?.destroy();
    await writeFile(join(cwd, "go"), "");
    const [status] = await exited;
    expect(status).to.equal(1);
    expect(await cut).to.equal(undefined);
  });

  it("puts AGENTS.md into the prompt, bounded, and never from outside", async () => {
    await writeFile(join(cwd, "AGENTS.md"), `first rule\n${"r".repeat(100_000)}\nlast rule`);
    const { backend } = await run([finish]);
    const system = String(backend.requests[0]?.messages[0]?.content);
    expect(system).to.include("first rule").and.to.include("last rule");
    expect(system).to.have.length.below(20_000);
    const linked = join(cwd, "linked");
    await mkdir(linked);
    await writeFile(join(scratch, "rules"), "outside rule");
    await symlink(join(scratch, "rules"), join(linked, "AGENTS.md"));
    cwd = linked;
    const other = await run([finish]);
    expect(other.status).to.equal(0);
    expect(JSON.stringify(other.backend.requests[0])).not.to.include("outside rule");
  });

  it("keeps the token from the programs it runs and out of its own words", async () => {
    const argv = ["sh", "-c", "env; printf 'the %s-token is' secret"];
    const { lines, notes, backend } = await run([call("run", { argv }), finish]);
    const said = lines + JSON.stringify(notes) + JSON.stringify(backend.requests);
    expect(said).not.to.match(/secret-token|DEVMESH_TOKEN/);
  });
});
