/** The small nouns on the platform itself: `agents`, `audit`, `system`. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Client } from "@connectrpc/connect";
import { type Caller, present } from "../caller.ts";
import type { Agent } from "../gen/devmesh/api/v1/agent_pb.js";
import type { AgentService } from "../gen/devmesh/api/v1/agent_service_pb.js";
import type {
  AuditEvent,
  AuditService,
  VerifyAuditResponse,
} from "../gen/devmesh/api/v1/audit_service_pb.js";
import type { SettingsSchema } from "../gen/devmesh/api/v1/settings_pb.js";
import type {
  GetSettingsResponse,
  GetSystemResponse,
  SystemService,
  UpdateSettingsResponse,
} from "../gen/devmesh/api/v1/system_service_pb.js";
import type { CallOptions } from "../options.ts";
import { Pager } from "../pager.ts";

/** The registry of runners. */
export interface Agents {
  /** The runners, alive ones first. */
  list(options?: CallOptions): Promise<Agent[]>;
  /** Lets a runner take no new jobs; what it runs goes on to its end. Throws NOT_FOUND. */
  drain(id: string, options?: CallOptions): Promise<Agent>;
  /** Lets a drained runner take jobs again. Throws NOT_FOUND. */
  resume(id: string, options?: CallOptions): Promise<Agent>;
}

/** Who changed what, and how it went. */
export interface Audit {
  /** Rows, newest first. */
  list(query?: { readonly pageSize?: number }, options?: CallOptions): Pager<AuditEvent>;
  /**
   * Checks the chain of hashes over all rows. With `expectedHash`, a `headHash`
   * that was kept from an earlier check, it also finds a tail that was cut off.
   */
  verify(
    query?: { readonly expectedHash?: string },
    options?: CallOptions,
  ): Promise<VerifyAuditResponse>;
}

/** What runs here and how it does. */
export interface System {
  /** The version, the feature flags and the state of every part. */
  get(options?: CallOptions): Promise<GetSystemResponse>;
  /** The settings that change without a restart, as they hold now. */
  settings(options?: CallOptions): Promise<GetSettingsResponse>;
  /**
   * Changes settings: absent fields stay, `reset` names those that go back to
   * the environment's value. `expectedVersion`: the version that was seen;
   * another one fails with WRONG_STATE. Default: whatever it is.
   */
  updateSettings(
    change: {
      readonly settings?: MessageInitShape<typeof SettingsSchema>;
      readonly reset?: readonly string[];
      readonly expectedVersion?: bigint;
    },
    options?: CallOptions,
  ): Promise<UpdateSettingsResponse>;
}

/** Makes the noun `agents`. */
export function createAgents(client: Client<typeof AgentService>, caller: Caller): Agents {
  return {
    list: async (options) => (await caller.unary((o) => client.listAgents({}, o), options)).agents,
    drain: async (id, options) => {
      const { agent } = await caller.unary((o) => client.drainAgent({ id }, o), options);
      return present(agent, "agent");
    },
    resume: async (id, options) => {
      const { agent } = await caller.unary((o) => client.resumeAgent({ id }, o), options);
      return present(agent, "agent");
    },
  };
}

/** Makes the noun `audit`. */
export function createAudit(client: Client<typeof AuditService>, caller: Caller): Audit {
  return {
    list: (query = {}, options) =>
      new Pager(async (pageToken) => {
        const request = { pageToken, pageSize: query.pageSize ?? 0 };
        const page = await caller.unary((o) => client.listAuditEvents(request, o), options);
        return { items: page.events, nextPageToken: page.nextPageToken };
      }),
    verify: (query = {}, options) => {
      const request = { expectedHash: query.expectedHash ?? "" };
      return caller.unary((o) => client.verifyAudit(request, o), options);
    },
  };
}

/** Makes the noun `system`. */
export function createSystem(client: Client<typeof SystemService>, caller: Caller): System {
  return {
    get: (options) => caller.unary((o) => client.getSystem({}, o), options),
    settings: (options) => caller.unary((o) => client.getSettings({}, o), options),
    updateSettings: ({ settings = {}, reset = [], expectedVersion = 0n }, options) => {
      const request = { settings, reset: [...reset], expectedVersion };
      return caller.unary((o) => client.updateSettings(request, o), options);
    },
  };
}
