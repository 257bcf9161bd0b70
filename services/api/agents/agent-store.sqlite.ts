/** The registry of runners on SQLite. */
import type { DatabaseSync, StatementSync } from "node:sqlite";
import type { Agent } from "@devmesh/gen/devmesh/api/v1/agent_pb";
import type { Clock } from "@devmesh/mesh/runtime";
import { type AgentRow, agentColumns, agentValues, toAgentRecord } from "./agent-rows.ts";
import type { AgentRecord, AgentStore } from "./agent-store.ts";

const agentSql = {
  upsert: `
    INSERT INTO agents (id, host, version, capacity, capabilities, labels, holder, last_seen)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
    ON CONFLICT (id) DO UPDATE
    SET host = excluded.host, version = excluded.version, capacity = excluded.capacity,
        capabilities = excluded.capabilities, labels = excluded.labels, holder = excluded.holder,
        last_seen = excluded.last_seen
    WHERE agents.holder IN ('', excluded.holder)`,
  touch: "UPDATE agents SET running = ?2, last_seen = ?3 WHERE id = ?1 AND holder = ?4",
  setDraining: "UPDATE agents SET draining = ?2 WHERE id = ?1",
  get: `SELECT ${agentColumns} FROM agents WHERE id = ?1`,
  list: `SELECT ${agentColumns} FROM agents WHERE last_seen >= ?1 ORDER BY last_seen DESC, id`,
};

/** What the store works with. */
export interface SqliteAgentStoreOptions {
  /** Opened with the migrations of `migrations/sqlite`; closed by who opened it. */
  readonly db: DatabaseSync;
  readonly clock: Clock;
}

/** Runners in a SQLite file. */
export class SqliteAgentStore implements AgentStore {
  readonly #clock: Clock;
  readonly #sql: Record<keyof typeof agentSql, StatementSync>;

  constructor({ db, clock }: SqliteAgentStoreOptions) {
    this.#clock = clock;
    this.#sql = Object.fromEntries(
      Object.entries(agentSql).map(([name, text]) => [name, db.prepare(text)]),
    ) as Record<keyof typeof agentSql, StatementSync>;
  }

  async upsert(agent: Agent, holder: string): Promise<boolean> {
    return this.#sql.upsert.run(...agentValues(agent), holder, this.#time()).changes === 1;
  }

  async touch(id: string, running: number, holder: string): Promise<boolean> {
    return this.#sql.touch.run(id, running, this.#time(), holder).changes === 1;
  }

  async setDraining(id: string, draining: boolean): Promise<boolean> {
    return this.#sql.setDraining.run(id, Number(draining)).changes === 1;
  }

  async get(id: string): Promise<AgentRecord | undefined> {
    const row = this.#sql.get.get(id);
    return row && toAgentRecord(row as unknown as AgentRow);
  }

  async list(withinMs: number): Promise<AgentRecord[]> {
    const rows = this.#sql.list.all(this.#time(-withinMs)) as unknown as AgentRow[];
    return rows.map(toAgentRecord);
  }

  #time(plusMs = 0): string {
    return new Date(this.#clock.now() + plusMs).toISOString();
  }
}
