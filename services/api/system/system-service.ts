/** The handlers of `devmesh.api.v1.SystemService`. */
import { type Timestamp, timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import { AgentStatus } from "@devmesh/gen/devmesh/api/v1/agent_pb";
import type {
  SystemService,
  UpdateSettingsRequest,
} from "@devmesh/gen/devmesh/api/v1/system_service_pb";
import { kSubject } from "@devmesh/mesh/context";
import { DevmeshError, invalidField, toDevmeshError } from "@devmesh/mesh/errors";
import type { ReadinessCheck } from "@devmesh/mesh/server";
import type { Agents } from "../agents/agents.ts";
import type { HotSettings } from "../settings/settings.ts";
import { touched } from "../settings/settings-rules.ts";

/** How long one part may take to answer. */
const tryTimeoutMs = 2_000;

/** What the handlers need. */
export interface SystemServiceOptions {
  readonly version: string;
  readonly startedAtMs: number;
  readonly settings: Pick<HotSettings, "current" | "version" | "update">;
  /** The parts that are tried, each by a real call. */
  readonly parts: readonly ReadinessCheck[];
  readonly agents: Agents;
}

/** What runs here and how it does. */
export class SystemServiceImpl implements ServiceImpl<typeof SystemService> {
  readonly #version: string;
  readonly #startTime: Timestamp;
  readonly #settings: SystemServiceOptions["settings"];
  readonly #parts: readonly ReadinessCheck[];
  readonly #agents: Agents;

  constructor({ version, startedAtMs, settings, parts, agents }: SystemServiceOptions) {
    this.#version = version;
    this.#startTime = timestampFromMs(startedAtMs);
    this.#settings = settings;
    this.#parts = parts;
    this.#agents = agents;
  }

  async getSystem() {
    const checks = [...this.#parts, { name: "runners", check: () => this.#runners() }];
    return {
      version: this.#version,
      startTime: this.#startTime,
      parts: await Promise.all(checks.map(tryPart)),
      features: { ...this.#settings.current.features },
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

  getSettings() {
    const { current, version } = this.#settings;
    return { settings: current, version: BigInt(version) };
  }

  async updateSettings(req: UpdateSettingsRequest, { values }: HandlerContext) {
    const { settings, reset, expectedVersion } = req;
    if (settings === undefined) throw invalidField("settings", "is missing");
    const change = { settings, reset };
    values.get(kSubject).resource = touched(change).join(",");
    await this.#settings.update(change, Number(expectedVersion));
    return this.getSettings();
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
