/**
 * Refuses limits that no virtual machine of this host can be made with, before any
 * program is started. What a machine says that starts and ends is left to the drivers.
 */
import { totalmem } from "node:os";
import { invalidField } from "@devmesh/mesh/errors";
import type { SandboxLimits } from "../driver.ts";

/** Processors of QEMU's plain PC, whatever its version. */
export const qemuMaxCpus = 255;
/** Processors of a machine of Firecracker. */
export const firecrackerMaxCpus = 32;

/** What a guest's own kernel and agent take beside the sandbox's memory. */
const overheadMib = 128;
const mib = 1024 * 1024;

/**
 * Throws INVALID_FIELD for more processors than the machine has sockets for, and for more
 * memory than the host has (`hostMib`; default: what this process may use).
 */
export function checkVmLimits(
  { cpuMillis, memoryMib }: SandboxLimits,
  maxCpus: number,
  hostMib: number = memoryOfHost(),
): void {
  if (cpuMillis > maxCpus * 1000) {
    throw invalidField(
      "limits.cpuMillis",
      `${cpuMillis} is more than a virtual machine can have here: ${maxCpus * 1000} (${maxCpus} processors)`,
    );
  }
  const most = hostMib - overheadMib;
  if (memoryMib > most) {
    throw invalidField(
      "limits.memoryMib",
      `${memoryMib} is more than a virtual machine can have here: ${most} (the host has ${hostMib} MiB)`,
    );
  }
}

function memoryOfHost(): number {
  // 0: nothing bounds this process beside the host.
  const own = process.constrainedMemory() || Number.POSITIVE_INFINITY;
  return Math.floor(Math.min(totalmem(), own) / mib);
}
