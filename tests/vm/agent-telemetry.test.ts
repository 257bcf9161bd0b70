/** What operators hear of an agent's work: counters, a duration, a span and a line. */
import { create } from "@bufbuild/protobuf";
import { AgentReportSchema } from "@devmesh/gen/devmesh/api/v1/agent_work_pb";
import { createLogger } from "@devmesh/mesh/log";
import { metrics } from "@opentelemetry/api";
import { expect } from "chai";
import { measureAgent } from "../../services/vm/runner/agent/telemetry.ts";

describe("an agent's telemetry", () => {
  const seen: [string, number, unknown][] = [];

  before(() => {
    const take = (name: string) => (value: number, facts?: unknown) => {
      seen.push([name, value, facts]);
    };
    const meter = {
      createCounter: (name: string) => ({ add: take(name) }),
      createHistogram: (name: string) => ({ record: take(name) }),
    };
    metrics.setGlobalMeterProvider({ getMeter: () => meter as never });
  });
  after(() => metrics.disable());

  it("tells time, tokens, who answered, and how it ended", () => {
    const lines: string[] = [];
    const write = (line: string) => lines.push(line);
    const logger = createLogger({ service: "vm", level: "info", destination: { write } });
    const agent = create(AgentReportSchema, {
      ...{ model: "scripted/tasks", steps: 4, inputTokens: 100n, outputTokens: 20n },
      costMicros: 7n,
    });
    const exit = { exitCode: 1, outOfMemory: false };
    const agentFailure = { reason: "LIMIT", message: "too many steps" };
    const work = { exit, stopped: false, agent, agentFailure };
    measureAgent({ logger, jobId: "job_1", driver: "docker", work, ms: 1500 });
    const who = { provider: "scripted", model: "scripted/tasks" };
    expect(seen).to.deep.include.members([
      ["devmesh.agent.tasks", 1, { ...who, driver: "docker", outcome: "LIMIT" }],
      ["devmesh.agent.tokens", 100, { ...who, direction: "input" }],
      ["devmesh.agent.tokens", 20, { ...who, direction: "output" }],
      ["devmesh.agent.steps", 4, who],
      ["devmesh.agent.cost_micros", 7, who],
      ["devmesh.agent.task.duration", 1.5, { ...who, driver: "docker", outcome: "LIMIT" }],
    ]);
    const line: unknown = JSON.parse(lines[0] ?? "");
    expect(line).to.include({ jobId: "job_1", provider: "scripted", tokens: 120 });
    expect(line).to.include({ latencyMs: 1500, outcome: "LIMIT", steps: 4 });
  });
});
