/** The handlers of `devmesh.api.v1.AgentService`. */
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import type {
  AgentService,
  DrainAgentRequest,
  ResumeAgentRequest,
} from "@devmesh/gen/devmesh/api/v1/agent_service_pb";
import { kSubject } from "@devmesh/mesh/context";
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

  async drainAgent({ id }: DrainAgentRequest, context: HandlerContext) {
    context.values.get(kSubject).resource = id;
    return { agent: await this.#agents.setDraining(id, true) };
  }

  async resumeAgent({ id }: ResumeAgentRequest, context: HandlerContext) {
    context.values.get(kSubject).resource = id;
    return { agent: await this.#agents.setDraining(id, false) };
  }
}
