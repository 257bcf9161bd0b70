/** The handlers of `devmesh.api.v1.SystemService`. */
import { type Timestamp, timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import { AgentStatus } from "@devmesh/gen/devmesh/api/v1/agent_pb";
import type { SystemService } from "@devmesh/gen/devmesh/api/v1/system_service_pb";
import { DevmeshError, toDevmeshError } from "@devmesh/mesh/errors";
import type { ReadinessCheck } from "@devmesh/mesh/server";
import type { Agents } from "../agents/agents.ts";

/** How long one part may take to answer. */
const tryTimeoutMs = 2_000;

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
    const checks = [...this.#parts, { name: "runners", check: () => this.#runners() }];
    return {
      version: this.#version,
      startTime: this.#startTime,
      parts: await Promise.all(checks.map(tryPart)),
      features: { ...this.#features },
    };
  }

  async #runners(): Promise<string> {
    const agents = await this.#agents.list();
    const alive = agents.filter(({ status }) => status === AgentStatus.ALIVE);
    if (alive.length === 0) {
      throw new DevmeshError(
        "UNAVAILABLE",
        "no runner is alive: start one with `devmesh serve vm`",
      );
    }
    const room = alive.reduce((sum, agent) => sum + Math.max(0, agent.capacity - agent.running), 0);
    return `${alive.length} alive, room for ${room} more jobs`;
  }

  async getSettings(): Promise<never> {
    throw new DevmeshError("UNIMPLEMENTED", "not served yet");
  }

  async updateSettings(): Promise<never> {
    throw new DevmeshError("UNIMPLEMENTED", "not served yet");
  }
}

/** A part that hangs is one that does not work. */
async function tryPart({ name, check }: ReadinessCheck) {
  const signal = AbortSignal.timeout(tryTimeoutMs);
  const late = new Promise<never>((_resolve, reject) => {
    const why = `no answer within ${tryTimeoutMs} ms`;
    const onAbort = () => reject(new DevmeshError("DEADLINE_EXCEEDED", why));
    signal.addEventListener("abort", onAbort, { once: true });
  });
  try {
    return { name, ok: true, detail: await Promise.race([check(signal), late]) };
  } catch (error) {
    return { name, ok: false, detail: toDevmeshError(error).message };
  }
}
