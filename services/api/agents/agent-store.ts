/** The port behind which the registry of runners lives. */
import type { Agent } from "@devmesh/gen/devmesh/api/v1/agent_pb";

/** A runner and when it was last heard of. */
export interface AgentRecord {
  /** As the runner presented itself; `status`, `lastSeen`, `running` unset. */
  readonly agent: Agent;
  readonly lastSeenMs: number;
  readonly running: number;
}

/** Runners. The store's clock stamps `lastSeenMs`. */
export interface AgentStore {
  /** Adds the runner or replaces what is known of it. */
  upsert(agent: Agent): Promise<void>;
  /** Notes a sign of life; false if the runner is unknown. */
  touch(id: string, running: number): Promise<boolean>;
  get(id: string): Promise<AgentRecord | undefined>;
  /** Runners heard of within `withinMs`, last heard first. */
  list(withinMs: number): Promise<AgentRecord[]>;
}
