/** Rows of the table `agents`, and the runners they stand for. */
import { fromJson, type JsonObject, toJson } from "@bufbuild/protobuf";
import { type Agent, AgentSchema } from "@devmesh/gen/devmesh/api/v1/agent_pb";
import type { AgentRecord } from "./agent-store.ts";

/** A row of `agents`. Drivers differ in how they hand out times and 64-bit numbers. */
export interface AgentRow {
  readonly id: string;
  readonly host: string;
  readonly version: string;
  readonly capacity: number | string;
  /** Capability messages as a JSON array. */
  readonly capabilities: string;
  readonly running: number | string;
  readonly last_seen: string | Date;
  readonly draining: number | boolean;
  /** A JSON object. */
  readonly labels: string;
  readonly holder: string;
}

/** The columns of AgentRow. */
export const agentColumns =
  "id, host, version, capacity, capabilities, running, last_seen, draining, labels, holder";

/** The record that a row stands for. */
export function toAgentRecord(row: AgentRow): AgentRecord {
  const { id, host, version } = row;
  const capacity = Number(row.capacity);
  const capabilities = JSON.parse(row.capabilities) as JsonObject[];
  const labels = JSON.parse(row.labels) as JsonObject;
  const json = { id, host, version, capacity, capabilities, labels };
  return {
    agent: fromJson(AgentSchema, json, { ignoreUnknownFields: true }),
    lastSeenMs: new Date(row.last_seen).getTime(),
    running: Number(row.running),
    draining: Boolean(row.draining),
    holder: row.holder,
  };
}

/** What a runner says of itself: id, host, version, capacity, capabilities, labels. */
export function agentValues(agent: Agent): [string, string, string, number, string, string] {
  const { capabilities = [], labels = {} } = toJson(AgentSchema, agent) as JsonObject;
  const { id, host, version, capacity } = agent;
  return [id, host, version, capacity, JSON.stringify(capabilities), JSON.stringify(labels)];
}
