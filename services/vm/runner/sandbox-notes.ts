/** What a job's events and its result say of its sandbox. Reading it is left to the drivers. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { SandboxUsageSchema } from "@devmesh/gen/devmesh/api/v1/job_result_pb";
import type { Sandbox, SandboxStats } from "../drivers/driver.ts";
import type { Note } from "./job-notes.ts";

const mib = 1024 * 1024;

/** The note with everything that the kernel holds the sandbox to. */
export function receiptNote({ id, receipt }: Pick<Sandbox, "id" | "receipt">): Note {
  const { memoryBytes, cpuMillis, pids, diskBytes, engine } = receipt;
  const caps = [
    `memory ${shown(memoryBytes.value / mib)} MiB`,
    `CPU ${shown(cpuMillis.value / 1000)}`,
    `${pids.value} pids`,
    `disk ${shown(diskBytes.value / mib)} MiB`,
  ];
  return {
    level: "info",
    topic: "sandbox.receipt",
    message: `the kernel holds it to ${caps.join(", ")} (${engine})`,
    payload: { sandbox: id, ...receipt },
  };
}

/** What a sandbox used, as the contract has it. */
export function toUsage(stats: SandboxStats): MessageInitShape<typeof SandboxUsageSchema> {
  return {
    cpuMs: whole(stats.cpuMs),
    throttledMs: whole(stats.throttledMs),
    peakMemoryBytes: whole(stats.peakMemoryBytes),
    pidsRefused: whole(stats.pidsRefused),
    diskBytes: whole(stats.diskBytes),
  };
}

function shown(value: number): string {
  return String(Math.round(value * 100) / 100);
}

function whole(value: number): bigint {
  return BigInt(Math.max(0, Math.round(value)));
}
