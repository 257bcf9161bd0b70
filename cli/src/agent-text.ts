/** Owns how runners are shown, as text and as JSON. */
import { type JsonValue, toJson } from "@bufbuild/protobuf";
import { type Agent, AgentStatus, isolationName } from "@devmesh/sdk";
import { AgentSchema } from "@devmesh/sdk/raw";
import { showTime } from "./job-text.ts";
import type { Paint } from "./style.ts";
import { formatTable, inline } from "./table.ts";

/** A runner as `--json` shows it. */
export function agentToJson(agent: Agent): JsonValue {
  return toJson(AgentSchema, agent);
}

/** Runners as a table. */
export function formatAgents(agents: readonly Agent[], paint: Paint): string {
  const rows = agents.map((agent) => [
    inline(agent.id),
    inline(agent.host),
    showAgentStatus(agent.status, paint),
    `${agent.running} of ${agent.capacity}`,
    isolationsOf(agent).join(" "),
    labelsOf(agent),
    showTime(agent.lastSeen),
  ]);
  return formatTable(["ID", "HOST", "STATUS", "RUNNING", "ISOLATION", "LABELS", "LAST SEEN"], rows);
}

/** Where a runner stands; never by colour alone. */
export function showAgentStatus(status: AgentStatus, paint: Paint): string {
  switch (status) {
    case AgentStatus.ALIVE:
      return paint("green", "✓ alive");
    case AgentStatus.LOST:
      return paint("red", "✗ lost");
    case AgentStatus.DRAINING:
      return paint("yellow", "○ draining");
    default:
      return `? ${status}`;
  }
}

function isolationsOf({ capabilities }: Agent): string[] {
  const given = capabilities.filter(({ available }) => available);
  return given.map(({ isolation }) => isolationName(isolation) ?? "?");
}

function labelsOf({ labels }: Agent): string {
  const pairs = Object.entries(labels).map(([key, value]) => inline(`${key}=${value}`));
  return pairs.sort().join(" ") || "-";
}
