/** What an agent's work took, for operators: a line in the log, metrics and a span. */
import type { Logger } from "@devmesh/mesh/log";
import { count, duration, span } from "@devmesh/mesh/telemetry";
import type { WorkOutcome } from "../work.ts";

/** One agent's work. */
export interface AgentMeasure {
  readonly logger: Logger;
  readonly jobId: string;
  readonly driver: string;
  readonly work: WorkOutcome;
  readonly ms: number;
}

/** Tells what it took. The names are listed in `docs/agents.md`. */
export function measureAgent({ logger, jobId, driver, work, ms }: AgentMeasure): void {
  const { agent, agentFailure, stopped } = work;
  const model = agent?.model ?? "";
  const provider = model.includes("/") ? model.slice(0, model.indexOf("/")) : "";
  const outcome = stopped ? "STOPPED" : (agentFailure?.reason ?? "ok");
  const inputTokens = Number(agent?.inputTokens ?? 0n);
  const outputTokens = Number(agent?.outputTokens ?? 0n);
  const who = { provider, model };
  count("devmesh.agent.tasks", 1, { ...who, driver, outcome });
  count("devmesh.agent.tokens", inputTokens, { ...who, direction: "input" });
  count("devmesh.agent.tokens", outputTokens, { ...who, direction: "output" });
  count("devmesh.agent.steps", agent?.steps ?? 0, who);
  count("devmesh.agent.cost_micros", Number(agent?.costMicros ?? 0n), who);
  duration("devmesh.agent.task.duration", ms, { ...who, driver, outcome });
  const tokens = inputTokens + outputTokens;
  const facts = { "devmesh.job.id": jobId, ...who, driver, tokens, steps: agent?.steps ?? 0 };
  span("agent.task", ms, facts, outcome === "ok" ? "" : outcome);
  logger.info(
    {
      jobId,
      provider,
      model,
      tokens,
      latencyMs: Math.round(ms),
      outcome,
      steps: agent?.steps ?? 0,
      testsAfter: agent?.testsAfter ?? "",
    },
    "an agent's work ended",
  );
}
