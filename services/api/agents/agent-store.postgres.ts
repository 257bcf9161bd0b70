/** The registry of runners on Postgres; the server's clock is the clock. */
import type { Agent } from "@devmesh/gen/devmesh/api/v1/agent_pb";
import type { Pool } from "pg";
import { PostgresQueries } from "../postgres-query.ts";
import { type AgentRow, agentColumns, agentValues, toAgentRecord } from "./agent-rows.ts";
import type { AgentRecord, AgentStore } from "./agent-store.ts";

const queries = new PostgresQueries("agents", {
  upsert: `
    INSERT INTO agents (id, host, version, capacity, capabilities, labels, holder, last_seen)
    VALUES ($1, $2, $3, $4, $5, $6, $7, clock_timestamp())
    ON CONFLICT (id) DO UPDATE
    SET host = excluded.host, version = excluded.version, capacity = excluded.capacity,
        capabilities = excluded.capabilities, labels = excluded.labels, holder = excluded.holder,
        last_seen = excluded.last_seen
    WHERE agents.holder IN ('', excluded.holder)
    RETURNING id`,
  touch: `
    UPDATE agents SET running = $2, last_seen = clock_timestamp() WHERE id = $1 AND holder = $3
    RETURNING id`,
  setDraining: "UPDATE agents SET draining = $2 WHERE id = $1 RETURNING id",
  get: `SELECT ${agentColumns} FROM agents WHERE id = $1`,
  list: `
    SELECT ${agentColumns} FROM agents
    WHERE last_seen >= now() - $1::double precision * interval '1 millisecond'
    ORDER BY last_seen DESC, id`,
});

/** Runners in a Postgres schema. */
export class PostgresAgentStore implements AgentStore {
  readonly #pool: Pool;

  /** `pool` was opened with the migrations of `migrations/postgres`; who opened it closes it. */
  constructor({ pool }: { readonly pool: Pool }) {
    this.#pool = pool;
  }

  async upsert(agent: Agent, holder: string): Promise<boolean> {
    const values = [...agentValues(agent), holder];
    return (await queries.row(this.#pool, "upsert", values)) !== undefined;
  }

  async touch(id: string, running: number, holder: string): Promise<boolean> {
    return (await queries.row(this.#pool, "touch", [id, running, holder])) !== undefined;
  }

  async setDraining(id: string, draining: boolean): Promise<boolean> {
    return (await queries.row(this.#pool, "setDraining", [id, draining])) !== undefined;
  }

  async get(id: string): Promise<AgentRecord | undefined> {
    const row = await queries.row<AgentRow>(this.#pool, "get", [id]);
    return row && toAgentRecord(row);
  }

  async list(withinMs: number): Promise<AgentRecord[]> {
    return (await queries.rows<AgentRow>(this.#pool, "list", [withinMs])).map(toAgentRecord);
  }
}
