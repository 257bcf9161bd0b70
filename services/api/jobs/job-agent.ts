/**
 * Whether an agent's work can be done by the agent that it names: what none could hold is
 * refused when the job is made. What one harness alone cannot hold is left to the runner.
 */
import { AgentHarness, type AgentWork, BudgetEnd } from "@devmesh/gen/devmesh/api/v1/agent_work_pb";
import type { JobSpec } from "@devmesh/gen/devmesh/api/v1/job_pb";
import { invalidField } from "@devmesh/mesh/errors";

/** Throws INVALID_FIELD, which names the field. */
export function requireAgent({ work }: JobSpec): void {
  if (work.case !== "agent") return;
  const agent = work.value;
  requireNoNul(agent);
  const { harness, harnessArgv } = agent;
  if (harness === AgentHarness.COMMAND && !harnessArgv[0]) {
    throw invalid("harnessArgv", "must name the command's program");
  }
  const isOwn = harness === AgentHarness.UNSPECIFIED || harness === AgentHarness.CODER;
  if (!isOwn) requireForeign(agent);
}

/** A bound that nobody would hold is refused, not forgotten. */
function requireForeign({ tools, maxCostMicros, onBudgetEnd }: AgentWork): void {
  if (tools.length > 0) throw invalid("tools", "an agent that is not devmesh's has its own");
  if (maxCostMicros > 0n) {
    throw invalid("maxCostMicros", "an agent that is not devmesh's does not tell what it costs");
  }
  if (onBudgetEnd === BudgetEnd.ASK) {
    throw invalid("onBudgetEnd", "an agent that is not devmesh's cannot be asked to go on");
  }
}

/** What goes into arguments and variables cannot have a NUL. */
function requireNoNul({ task, model, harnessArgv, testArgv }: AgentWork): void {
  const fields = { task: [task], model: [model], harnessArgv, testArgv };
  for (const [name, texts] of Object.entries(fields)) {
    if (texts.some((text) => text.includes("\0"))) throw invalid(name, "has a NUL in it");
  }
}

const invalid = (name: string, why: string) => invalidField(`spec.agent.${name}`, why);
