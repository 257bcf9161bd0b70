/** codex, unmodified, in a sandbox: it edits a real file by a replayed conversation. */
import { expect } from "chai";
import { ensureCodex } from "../../scripts/parts/codex.ts";
import { JobStatus, packWorkspace, uploadWorkspace } from "../../sdk/ts/src/node.ts";
import { tempFolder } from "../sdk/temp-folder.ts";
import { brokenSum, harnessSuite, model, repairsTheSum } from "./harness-flow.ts";

const patch = [
  "*** Begin Patch",
  "*** Update File: sum.mjs",
  "@@",
  "-  return a - b;",
  "+  return a + b;",
  "*** End Patch",
].join("\n");

/** By default it waits ten seconds for a command, which a busy machine may take. */
const run = (cmd: string) => ({
  toolCall: { name: "exec_command", arguments: { cmd, yield_time_ms: 30_000 } },
});

const contains = "Wait and fix the sum";

harnessSuite({
  name: "codex",
  ensure: ensureCodex,
  drivers: ["process", "docker", "qemu"],
  conversations: [
    {
      when: { contains: "Fix the sum with codex", tools: true },
      turns: [
        { pieces: [{ text: "I look." }, run("cat sum.mjs")] },
        { when: { toolResult: "a - b" }, pieces: [run(`apply_patch <<'EOF'\n${patch}\nEOF`)] },
        { pieces: [run("node --test")] },
        { when: { toolResult: "pass 1" }, pieces: [{ text: "The sum is fixed." }] },
      ],
    },
    {
      when: { contains: "Repair the sum with codex", tools: true },
      turns: [
        { pieces: [{ text: "I look." }, run("cat sum.mjs")] },
        { when: { toolResult: "a - b" }, pieces: [run(`apply_patch <<'EOF'\n${patch}\nEOF`)] },
        { pieces: [run("cat sum.mjs")] },
        { when: { toolResult: "a + b" }, pieces: [{ text: "The sum is fixed." }] },
      ],
    },
    {
      when: { contains, tools: true },
      turns: [
        { pieces: [run("echo begun")] },
        { pieces: [run("sleep 4")] },
        { pieces: [run(`apply_patch <<'EOF'\n${patch}\nEOF`)] },
        { pieces: [{ text: "The sum is fixed." }] },
      ],
    },
  ],
  tests: (get) => {
    it("repairs a project until its tests pass, its calls in the ledger", async () => {
      const { lines } = await repairsTheSum(get(), "codex", { steps: 4, calls: 4 });
      const calls = lines.filter(({ topic }) => topic === "agent.call");
      const tools = calls.map(({ payload }) => (payload as { tool: string }).tool);
      expect(tools).to.deep.equal(["command_execution", "file_change", "command_execution"]);
    });

    it("does its task again after `kill -9` of everything in the middle", async function () {
      using project = tempFolder(brokenSum);
      const platform = get();
      // Two whole runs under emulation; what is resumed is the runner's, whatever the sandbox.
      if (platform.driver === "qemu") return this.skip();
      const packed = await packWorkspace(project.path);
      await uploadWorkspace(platform.up.devmesh, packed);
      await packed.dispose();
      const testArgv = ["node", "--test"];
      const { jobId } = await platform.up.devmesh.jobs.create({
        agent: { task: contains, model, testArgv, harness: "codex" },
        isolation: platform.isolation,
        workspaceSha256: packed.sha256,
      });
      for await (const { kind } of platform.up.devmesh.jobs.watch(jobId)) {
        if (kind.case === "note" && kind.value.topic === "agent.call") break;
      }
      await platform.restart();
      const result = await platform.up.devmesh.jobs.wait(jobId);
      expect(result, result.message).to.include({ outcome: JobStatus.SUCCEEDED });
      expect(result.agent).to.include({ testsAfter: "passed", summary: "The sum is fixed." });
      expect((await platform.up.devmesh.jobs.get(jobId)).attempt).to.equal(2);
    });
  },
});
