/** The registry of runners: who is alive and what they can give. */
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { type Agent, AgentStatus, type Capability } from "@devmesh/gen/devmesh/api/v1/agent_pb";
import { Isolation } from "@devmesh/gen/devmesh/api/v1/isolation_pb";
import { DevmeshError, notFound } from "@devmesh/mesh/errors";
import type { Clock } from "@devmesh/mesh/runtime";
import type { AgentRecord, AgentStore } from "./agent-store.ts";

/** Runners unheard of for longer are left out of lists. */
const forgetAfterMs = 24 * 60 * 60 * 1000;

/** The order of lists. */
const order = [AgentStatus.ALIVE, AgentStatus.DRAINING, AgentStatus.LOST];

/** What the registry needs. */
export interface AgentsOptions {
  readonly store: AgentStore;
  readonly clock: Clock;
  /** Runners unheard of for longer are lost. */
  readonly leaseTtlMs: number;
}

/** The runners. */
export class Agents {
  readonly #store: AgentStore;
  readonly #clock: Clock;
  readonly #leaseTtlMs: number;

  constructor({ store, clock, leaseTtlMs }: AgentsOptions) {
    this.#store = store;
    this.#clock = clock;
    this.#leaseTtlMs = leaseTtlMs;
  }

  /** Makes a runner known. Throws ALREADY_EXISTS if another holder presented one of its id. */
  async register(agent: Agent, holder: string): Promise<void> {
    if (await this.#store.upsert(agent, holder)) return;
    throw new DevmeshError(
      "ALREADY_EXISTS",
      `runner.id: another token presented a runner ${agent.id}: take an id of your own`,
      { metadata: { field: "runner.id", id: agent.id } },
    );
  }

  /**
   * Notes a sign of life, and how many jobs it runs where it says so. Throws
   * NOT_FOUND: the runner shall register again. Another holder's does not
   * exist for the caller.
   */
  async touch(id: string, holder: string, running?: number): Promise<void> {
    const count = running ?? (await this.#store.get(id))?.running ?? 0;
    if (!(await this.#store.touch(id, count, holder))) throw notFound("runner", id);
  }

  /**
   * The runner, if it takes jobs: not one that missed heartbeats, as work given
   * to it may go nowhere, and not one that is drained.
   */
  async takesJobs(id: string): Promise<Agent | undefined> {
    const record = await this.#store.get(id);
    if (record === undefined || record.draining) return undefined;
    const isHeard = this.#clock.now() - record.lastSeenMs < this.#leaseTtlMs / 2;
    return isHeard ? record.agent : undefined;
  }

  /** True for a runner that shall ask for no work. */
  async isDraining(id: string): Promise<boolean> {
    return (await this.#store.get(id))?.draining === true;
  }

  /** Lets a runner take no new jobs, or take them again. Throws NOT_FOUND. */
  async setDraining(id: string, draining: boolean): Promise<Agent> {
    await this.#store.setDraining(id, draining);
    const record = await this.#store.get(id);
    if (record === undefined) throw notFound("runner", id);
    return this.#toAgent(record);
  }

  /** All runners of the last day: alive ones first, those that are drained next, then lost ones. */
  async list(): Promise<Agent[]> {
    const records = await this.#store.list(forgetAfterMs);
    const agents = records.map((record) => this.#toAgent(record));
    return agents.sort((a, b) => order.indexOf(a.status) - order.indexOf(b.status));
  }

  /**
   * Throws ISOLATION_UNAVAILABLE, with every alive runner's reason and remedy,
   * if there are alive runners and none gives the isolation or a stronger one.
   * With no runner at all jobs wait for one.
   */
  async requireIsolation(isolation: Isolation): Promise<void> {
    const alive = await this.#store.list(this.#leaseTtlMs);
    if (alive.length === 0) return;
    const rows = alive.flatMap(({ agent }) => agent.capabilities);
    // A driver that is still being tried may give it: the job waits for the verdict.
    const may = rows.filter((row) => row.isolation >= isolation && (row.available || row.pending));
    if (may.length > 0) return;
    const name = Isolation[isolation].toLowerCase();
    const missing = rows.filter((row) => row.isolation >= isolation);
    const remedy =
      missing.map((row) => row.remedy).join("; ") ||
      "name a driver for it in SANDBOX_DRIVERS of a runner, or ask for less isolation";
    throw new DevmeshError(
      "ISOLATION_UNAVAILABLE",
      `isolation: no runner can give ${name}: ${missing.map(describe).join("; ") || `no driver for it (${remedy})`}`,
      { metadata: { field: "isolation", isolation: name, remedy } },
    );
  }

  #toAgent({ agent, lastSeenMs, running, draining }: AgentRecord): Agent {
    const lost = this.#clock.now() - lastSeenMs > this.#leaseTtlMs;
    const lastSeen: Timestamp = timestampFromMs(lastSeenMs);
    return {
      ...agent,
      status: lost ? AgentStatus.LOST : draining ? AgentStatus.DRAINING : AgentStatus.ALIVE,
      lastSeen,
      running: lost ? 0 : running,
    };
  }
}

function describe({ driver, reason, remedy }: Capability): string {
  return `${driver}: ${reason} (${remedy})`;
}
