/** The registry of runners in memory: gone with the process. */
import type { Agent } from "@devmesh/gen/devmesh/api/v1/agent_pb";
import type { Clock } from "@devmesh/mesh/runtime";
import { type AgentRow, agentValues, toAgentRecord } from "./agent-rows.ts";
import type { AgentRecord, AgentStore } from "./agent-store.ts";

/** Runners in this process. */
export class MemoryAgentStore implements AgentStore {
  readonly #clock: Clock;
  readonly #rows = new Map<string, AgentRow>();

  constructor({ clock }: { readonly clock: Clock }) {
    this.#clock = clock;
  }

  async upsert(agent: Agent, holder: string): Promise<boolean> {
    const [id, host, version, capacity, capabilities, labels] = agentValues(agent);
    const known = this.#rows.get(id);
    if (known !== undefined && !["", holder].includes(known.holder)) return false;
    const { running = 0, draining = false } = known ?? {};
    const said = { id, host, version, capacity, capabilities, labels, holder };
    this.#rows.set(id, { ...said, running, draining, last_seen: new Date(this.#clock.now()) });
    return true;
  }

  async touch(id: string, running: number, holder: string): Promise<boolean> {
    const row = this.#rows.get(id);
    if (row?.holder !== holder) return false;
    this.#rows.set(id, { ...row, running, last_seen: new Date(this.#clock.now()) });
    return true;
  }

  async setDraining(id: string, draining: boolean): Promise<boolean> {
    const row = this.#rows.get(id);
    if (row === undefined) return false;
    this.#rows.set(id, { ...row, draining });
    return true;
  }

  async get(id: string): Promise<AgentRecord | undefined> {
    const row = this.#rows.get(id);
    return row && toAgentRecord(row);
  }

  async list(withinMs: number): Promise<AgentRecord[]> {
    const since = this.#clock.now() - withinMs;
    return [...this.#rows.values()]
      .map(toAgentRecord)
      .filter(({ lastSeenMs }) => lastSeenMs >= since)
      .sort((a, b) => b.lastSeenMs - a.lastSeenMs || (a.agent.id < b.agent.id ? -1 : 1));
  }
}
