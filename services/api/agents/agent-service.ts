/** The handlers of `devmesh.api.v1.AgentService`. */

import type { ServiceImpl } from "@connectrpc/connect";
import type { AgentService } from "@devmesh/gen/devmesh/api/v1/agent_service_pb";
import { DevmeshError } from "@devmesh/mesh/errors";
import type { Agents } from "./agents.ts";

/** The registry of runners. */
export class AgentServiceImpl implements ServiceImpl<typeof AgentService> {
  readonly #agents: Agents;

  constructor({ agents }: { readonly agents: Agents }) {
    this.#agents = agents;
  }

  async listAgents() {
    return { agents: await this.#agents.list() };
  }

  async drainAgent(): Promise<never> {
    throw new DevmeshError("UNIMPLEMENTED", "not served yet");
  }

  async resumeAgent(): Promise<never> {
    throw new DevmeshError("UNIMPLEMENTED", "not served yet");
  }
}
