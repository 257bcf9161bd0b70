/** codex, unmodified, in a sandbox: it edits a real file by a replayed conversation. */
import { expect } from "chai";
import { ensureCodex } from "../../scripts/parts/codex.ts";
import { harnessSuite, repairsTheSum } from "./harness-flow.ts";

const patch = [
  "*** Begin Patch",
  "*** Update File: sum.mjs",
  "@@",
  "-  return a - b;",
  "+  return a + b;",
  "*** End Patch",
].join("\n");

const run = (cmd: string) => ({ toolCall: { name: "exec_command", arguments: { cmd } } });

harnessSuite({
  name: "codex",
  ensure: ensureCodex,
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
  ],
  tests: (get) => {
    it("repairs a project until its tests pass, its calls in the ledger", async () => {
      const { lines } = await repairsTheSum(get(), "codex", { steps: 4, calls: 4 });
      const calls = lines.filter(({ topic }) => topic === "agent.call");
      const tools = calls.map(({ payload }) => (payload as { tool: string }).tool);
      expect(tools).to.deep.equal(["command_execution", "file_change", "command_execution"]);
    });
  },
});
