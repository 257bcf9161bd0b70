/** Owns `--with`: which program does an agent's work, and its arguments. */
import { type AgentHarnessName, type AgentTask, agentHarnessNames } from "@devmesh/sdk";
import type { Args } from "./args.ts";
import { UsageError } from "./usage-error.ts";

const commandPrefix = "command:";

/** What `--with` and the arguments behind `--` say. Throws `UsageError`. */
export function readHarness(args: Args): Pick<AgentTask, "harness" | "harnessArgv"> {
  const text = args.text("with");
  const rest = args.rest ?? [];
  if (text?.startsWith(commandPrefix)) {
    const words = text
      .slice(commandPrefix.length)
      .split(" ")
      .filter((word) => word !== "");
    if (words.length === 0) {
      const hint = "for example --with 'command:./agent.sh {task}'";
      throw new UsageError("--with: command: needs a program", hint);
    }
    return { harness: "command", harnessArgv: [...words, ...rest] };
  }
  const harness = args.choice<AgentHarnessName>("with", agentHarnessNames);
  if (harness === "command" && rest.length === 0) {
    const hint = "write command:PROGRAM, or the program behind --";
    throw new UsageError("--with: command needs a program", hint);
  }
  if (rest.length > 0 && (harness === undefined || harness === "coder")) {
    throw new UsageError("arguments behind -- are for agents named by --with");
  }
  return { ...(harness && { harness }), ...(rest.length > 0 && { harnessArgv: rest }) };
}
