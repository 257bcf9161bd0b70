/** How each part of the platform is tried: by a real call. */
import type { Client } from "@connectrpc/connect";
import type { ModelService } from "@devmesh/gen/devmesh/inference/v1/model_service_pb";
import type { ContextService as ContextPlane } from "@devmesh/gen/devmesh/mcp/v1/context_service_pb";
import type { ReadinessCheck } from "@devmesh/mesh/server";
import type { AuditLog } from "../audit/audit-log.ts";
import type { JobStore } from "../jobs/job-store.ts";

/** The database behind the backend. */
export function storageCheck(store: Pick<JobStore, "ping">): ReadinessCheck {
  return {
    name: "storage",
    check: async () => {
      await store.ping();
      return "the database answers";
    },
  };
}

/** The audit: who changes something while it cannot be stored leaves no row. */
export function auditCheck(audit: Pick<AuditLog, "check">): ReadinessCheck {
  return {
    name: "audit",
    check: async () => {
      audit.check();
      return "rows are stored";
    },
  };
}

/** The context plane. */
export function planeCheck(plane: Client<typeof ContextPlane>): ReadinessCheck {
  return {
    name: "mcp",
    check: async (signal) => {
      const status = await plane.getStatus({}, { signal });
      const how = status.embeddingModel === "" ? "by keyword" : `with ${status.embeddingModel}`;
      return `${status.documents} documents, searched ${how}`;
    },
  };
}

/** The models. */
export function modelsCheck(models: Client<typeof ModelService>): ReadinessCheck {
  return {
    name: "inference",
    check: async (signal) => {
      const { models: found } = await models.listModels({}, { signal });
      return `${found.length} models`;
    },
  };
}
