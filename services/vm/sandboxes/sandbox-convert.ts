/** Between sandboxes and `devmesh.vm.v1`. */
import type { JsonObject, MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { ReconcileHostResponseSchema } from "@devmesh/gen/devmesh/vm/v1/host_service_pb";
import type { SandboxDetailSchema, SandboxSchema } from "@devmesh/gen/devmesh/vm/v1/sandbox_pb";
import type { SandboxStats } from "../drivers/driver.ts";
import type { HostedSandbox } from "./host.ts";
import type { Sweep } from "./reconciler.ts";

/** A sandbox as the contract has it. */
export function toSandbox({
  id,
  driver,
  jobId,
  createdAtMs,
  state = "running",
}: HostedSandbox): MessageInitShape<typeof SandboxSchema> {
  return { id, driver, jobId, state, createTime: timestampFromMs(createdAtMs) };
}

/** A sandbox with its receipt and its use. */
export function toDetail(
  sandbox: HostedSandbox,
  stats: SandboxStats | undefined,
): MessageInitShape<typeof SandboxDetailSchema> {
  const numbers = Object.entries(stats ?? {}).map(
    ([name, value]) => [name, BigInt(Math.max(0, Math.round(value)))] as const,
  );
  return {
    sandbox: toSandbox(sandbox),
    receipt: JSON.parse(JSON.stringify(sandbox.receipt)) as JsonObject,
    ...(stats && { stats: Object.fromEntries(numbers) }),
  };
}

/** What a sweep found. */
export function toReconciled(
  { found, reaped }: Sweep,
  before: Sweep | undefined,
  removedTotal: number,
): MessageInitShape<typeof ReconcileHostResponseSchema> {
  return {
    leftovers: [...found],
    reapedSandboxes: [...reaped],
    removedTotal: BigInt(removedTotal),
    ...(before && { lastTime: timestampFromMs(before.atMs) }),
  };
}
