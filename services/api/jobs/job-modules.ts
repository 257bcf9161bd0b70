/** Which modules a job needs: switched off, they refuse new jobs, and those accepted before go on. */
import { Isolation } from "@devmesh/gen/devmesh/api/v1/isolation_pb";
import type { JobSpec } from "@devmesh/gen/devmesh/api/v1/job_pb";
import { type Features, featureDisabled } from "@devmesh/mesh/interceptors";

/** Throws FEATURE_DISABLED for an agent's job, or one that demands a virtual machine, while that is off. */
export function requireModules({ work, isolation }: JobSpec, features: Features): void {
  if (work.case === "agent" && !features("agents")) throw featureDisabled("agents");
  if (isolation >= Isolation.VM && !features("vms")) throw featureDisabled("vms");
}
