/** The port behind which the registry of runners lives. */
import type { Agent } from "@devmesh/gen/devmesh/api/v1/agent_pb";

/** A runner and when it was last heard of. */
export interface AgentRecord {
  /** As the runner presented itself; `status`, `lastSeen`, `running` unset. */
  readonly agent: Agent;
  readonly lastSeenMs: number;
  readonly running: number;
  /** True: it takes no new jobs until it is resumed. */
  readonly draining: boolean;
  /** The caller that presented it. Empty: one of before there were holders. */
  readonly holder: string;
}

/** Runners. The store's clock stamps `lastSeenMs`. */
export interface AgentStore {
  /**
   * Adds the runner or replaces what it says of itself: one that is drained
   * stays so. False, and nothing done, if another holder presented it.
   */
  upsert(agent: Agent, holder: string): Promise<boolean>;
  /** Notes a sign of life; false if the runner is unknown, or another holder's. */
  touch(id: string, running: number, holder: string): Promise<boolean>;
  /** Says whether the runner takes new jobs; false if it is unknown. */
  setDraining(id: string, draining: boolean): Promise<boolean>;
  get(id: string): Promise<AgentRecord | undefined>;
  /** Runners heard of within `withinMs`, last heard first. */
  list(withinMs: number): Promise<AgentRecord[]>;
}
