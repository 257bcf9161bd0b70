/** The agents of other makers that there are. */
import { AgentHarness } from "@devmesh/gen/devmesh/api/v1/agent_work_pb";
import { codex } from "./codex.ts";
import { command } from "./command.ts";
import type { Harness } from "./harness.ts";
import { opencode } from "./opencode.ts";

/** The agent that a job names; undefined for devmesh's own. */
export function harnessOf(harness: AgentHarness): Harness | undefined {
  switch (harness) {
    case AgentHarness.UNSPECIFIED:
    case AgentHarness.CODER:
      return undefined;
    case AgentHarness.CODEX:
      return codex;
    case AgentHarness.OPENCODE:
      return opencode;
    case AgentHarness.COMMAND:
      return command;
    default:
      return harness satisfies never;
  }
}
