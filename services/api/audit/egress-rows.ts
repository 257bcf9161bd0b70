/** How a decision of an egress proxy stands in the audit. */
import type { EgressDecision } from "@devmesh/gen/devmesh/api/v1/runner_service_pb";
import { redact } from "@devmesh/mesh/log";
import type { AuditInput } from "./audit-store.ts";

/** Action, outcome and detail of its row. */
export function toEgressRow(
  decision: EgressDecision,
): Required<Pick<AuditInput, "action" | "outcome" | "detail">> {
  const { allowed, host, port, method, path, address, reason, count } = decision;
  const facts = { host, port, method, path: redact(path), address, count };
  return {
    action: allowed ? "egress.allow" : "egress.refuse",
    outcome: allowed ? "ok" : reason || "EGRESS_REFUSED",
    detail: JSON.stringify(facts),
  };
}
