/** The handlers of `devmesh.api.v1.SystemService`. */
import { type Timestamp, timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import { AgentStatus } from "@devmesh/gen/devmesh/api/v1/agent_pb";
import type { SystemService } from "@devmesh/gen/devmesh/api/v1/system_service_pb";
import { toDevmeshError } from "@devmesh/mesh/errors";
import type { ReadinessCheck } from "@devmesh/mesh/server";
import type { Agents } from "../agents/agents.ts";

/** What the handlers need. */
export interface SystemServiceOptions {
  readonly version: string;
  readonly startedAtMs: number;
  readonly features: Readonly<Record<string, boolean>>;
  /** The parts that are tried, each by a real call. */
  readonly parts: readonly ReadinessCheck[];
  readonly agents: Agents;
}

/** What runs here and how it does. */
export class SystemServiceImpl implements ServiceImpl<typeof SystemService> {
  readonly #version: string;
  readonly #startTime: Timestamp;
  readonly #features: Readonly<Record<string, boolean>>;
  readonly #parts: readonly ReadinessCheck[];
  readonly #agents: Agents;

  constructor({ version, startedAtMs, features, parts, agents }: SystemServiceOptions) {
    this.#version = version;
    this.#startTime = timestampFromMs(startedAtMs);
    this.#features = features;
    this.#parts = parts;
    this.#agents = agents;
  }

  async getSystem() {
    const parts = await Promise.all([...this.#parts.map(tryPart), this.#runners()]);
    return {
      version: this.#version,
      startTime: this.#startTime,
      parts,
      features: { ...this.#features },
    };
  }

  async #runners() {
    const agents = await this.#agents.list();
    const alive = agents.filter(({ status }) => status === AgentStatus.ALIVE);
    const detail =
      alive.length === 0
        ? "no runner is alive: start one with `devmesh serve vm`"
        : `${alive.length} alive, room for ${alive.reduce((sum, a) => sum + a.capacity, 0)} jobs`;
    return { name: "runners", ok: alive.length > 0, detail };
  }
}

async function tryPart({ name, check }: ReadinessCheck) {
  try {
    return { name, ok: true, detail: await check(AbortSignal.timeout(2_000)) };
  } catch (error) {
    return { name, ok: false, detail: toDevmeshError(error).message };
  }
}
