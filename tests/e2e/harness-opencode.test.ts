/** opencode, unmodified, in a sandbox: it edits a real file by a replayed conversation. */
import { expect } from "chai";
import { ensureOpencode } from "../../scripts/parts/opencode.ts";
import { harnessSuite, repairsTheSum } from "./harness-flow.ts";

const call = (name: string, args: object) => ({ toolCall: { name, arguments: args } });
const filePath = "/work/sum.mjs";
const contains = "Fix the sum with opencode";

harnessSuite({
  name: "opencode",
  ensure: ensureOpencode,
  drivers: ["process", "docker", "qemu"],
  conversations: [
    {
      when: { contains, tools: true },
      turns: [
        { pieces: [{ text: "I look." }, call("read", { filePath })] },
        {
          when: { toolResult: "a - b" },
          pieces: [call("edit", { filePath, oldString: "a - b", newString: "a + b" })],
        },
        { pieces: [call("bash", { command: "node --test", description: "runs the tests" })] },
        { when: { toolResult: "pass 1" }, pieces: [{ text: "The sum is fixed." }] },
      ],
    },
    {
      when: { contains: "Repair the sum with opencode", tools: true },
      turns: [
        { pieces: [{ text: "I look." }, call("read", { filePath })] },
        {
          when: { toolResult: "a - b" },
          pieces: [call("edit", { filePath, oldString: "a - b", newString: "a + b" })],
        },
        { pieces: [call("bash", { command: "cat sum.mjs", description: "shows the sum" })] },
        { when: { toolResult: "a + b" }, pieces: [{ text: "The sum is fixed." }] },
      ],
    },
    {
      when: { contains: "Repair the sum with opencode", tools: false },
      turns: [{ pieces: [{ text: "Repairing the sum" }] }],
    },
    // It asks for a title of its own, and offers no tools then.
    { when: { contains, tools: false }, turns: [{ pieces: [{ text: "Fixing the sum" }] }] },
  ],
  tests: (get) => {
    it("repairs a project until its tests pass, its calls in the ledger", async () => {
      const { lines } = await repairsTheSum(get(), "opencode", { steps: 4, calls: 5 });
      const calls = lines.filter(({ topic }) => topic === "agent.call");
      const tools = calls.map(({ payload }) => (payload as { tool: string }).tool);
      expect(tools).to.deep.equal(["read", "edit", "bash"]);
    });
  },
});
