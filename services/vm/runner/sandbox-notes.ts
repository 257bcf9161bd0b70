/** What a job's events and its result say of its sandbox. Reading it is left to the drivers. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { SandboxUsageSchema } from "@devmesh/gen/devmesh/api/v1/job_result_pb";
import type { Sandbox, SandboxStats } from "../drivers/driver.ts";
import type { Measured } from "../drivers/receipt.ts";
import type { Note } from "./job-notes.ts";

const mib = 1024 * 1024;

/** The note with everything that the sandbox is held to, and by whom. */
export function receiptNote({ id, receipt }: Pick<Sandbox, "id" | "receipt">): Note {
  const { memoryBytes, cpuMillis, pids, diskBytes, engine } = receipt;
  const caps = [
    { cap: `memory ${shown(memoryBytes.value / mib)} MiB`, by: holderOf(memoryBytes) },
    { cap: `CPU ${shown(cpuMillis.value / 1000)}`, by: holderOf(cpuMillis) },
    { cap: `${pids.value} pids`, by: holderOf(pids) },
    { cap: `disk ${shown(diskBytes.value / mib)} MiB`, by: holderOf(diskBytes) },
  ];
  const held = holders.flatMap(({ by, says }) => {
    const own = caps.filter((one) => one.by === by).map(({ cap }) => cap);
    return own.length === 0 ? [] : [`${says} ${own.join(", ")}`];
  });
  return {
    level: "info",
    topic: "sandbox.receipt",
    message: `${held.join("; ")} (${engine})`,
    payload: { sandbox: id, ...receipt },
  };
}

/** Who holds a sandbox to a cap, in the order in which they are named. */
const holders = [
  { by: "kernel", says: "the kernel holds it to" },
  { by: "watch", says: "a watch that looks from time to time holds it to" },
  { by: "nobody", says: "nothing holds it to" },
] as const;

/** Sources begin with `watch` or `none` where it is not the kernel. */
function holderOf({ source }: Measured<unknown>): (typeof holders)[number]["by"] {
  if (source.startsWith("watch")) return "watch";
  return source.startsWith("none") ? "nobody" : "kernel";
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
