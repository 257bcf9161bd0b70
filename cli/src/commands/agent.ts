/** `devmesh agent`: a task for the coding agent. */
import type { Command } from "../command.ts";
import { readHarness } from "../harness.ts";
import { parseDollars } from "../money.ts";
import { submitJob, submitOptions } from "../submit.ts";

/** The command. */
export const command: Command = {
  summary: "Lets the coding agent do a task and shows its log live.",
  usage: "agent [options] TASK [-- ARG…]",
  options: {
    ...submitOptions,
    with: { value: "AGENT", help: "coder, codex, opencode or command:PROGRAM (default: coder)" },
    model: { value: "MODEL", help: "provider/name or a role (default: coding)" },
    test: { value: "CMD", help: "a shell command that proves the task done" },
    "max-steps": { value: "N", help: "most model turns (default: 40)" },
    "max-tokens": { value: "N", help: "most tokens, in and out (default: 400000)" },
    "max-cost": { value: "USD", help: "most money for its model calls, in US dollars" },
    "on-budget-end": {
      value: "WHAT",
      help: "when a budget ends: stop, or ask and wait for `jobs answer` (default: stop)",
    },
    tool: {
      value: "NAME",
      multiple: true,
      help: "a tool it may use; may be repeated (default: all)",
    },
    protect: {
      value: "GLOB",
      multiple: true,
      help: "files that must stay as they are; may be repeated",
    },
  },
  notes:
    "codex and opencode run unmodified in the sandbox; their models are this server's.\n" +
    "command:PROGRAM runs any program there: {task} in its arguments is the task, and\n" +
    "OPENAI_BASE_URL, OPENAI_API_KEY and OPENAI_MODEL name the models. What stands\n" +
    "behind -- is added to the agent's arguments.",
  run: async (context) => {
    const { args } = context;
    const [task = ""] = args.words("TASK");
    const model = args.text("model");
    const test = args.text("test");
    const maxSteps = args.integer("max-steps", 1, 1000);
    const harness = readHarness(args);
    const maxTokens = args.integer("max-tokens", 1, 2 ** 32 - 1);
    const maxCost = args.text("max-cost");
    const onBudgetEnd = args.choice("on-budget-end", ["stop", "ask"]);
    const tools = args.list("tool");
    const protectedPaths = args.list("protect");
    return submitJob(context, {
      agent: {
        task,
        ...(model !== undefined && { model }),
        ...(test !== undefined && { testArgv: ["sh", "-c", test] }),
        ...(maxSteps !== undefined && { maxSteps }),
        ...(maxTokens !== undefined && { maxTokens }),
        ...(maxCost !== undefined && { maxCostMicros: parseDollars("--max-cost", maxCost) }),
        ...(onBudgetEnd !== undefined && { onBudgetEnd }),
        ...(tools.length > 0 && { tools }),
        ...(protectedPaths.length > 0 && { protectedPaths }),
        ...harness,
      },
    });
  },
};
