/**
 * What a guest's own kernel shows of the job's rights and caps, as a receipt. Making the
 * guest, and comparing the receipt with a request, is left to others.
 */
import type { SandboxStats } from "../driver.ts";
import { sandboxFailed } from "../driver-errors.ts";
import { processReceipt } from "../kernel-receipt.ts";
import type { Measured, SandboxReceipt } from "../receipt.ts";
import type { ResidentChannel } from "../resident/channel.ts";

/** The files of a process with the job's rights. */
export interface GuestFacts {
  readonly status: string;
  readonly mountinfo: string;
  readonly netDev: string;
  /** One a line: `net:[4026531840]`. */
  readonly namespaces: string;
}

/** The caps that hold in a guest that runs, as its kernel shows them. */
export type GuestCaps = Pick<SandboxReceipt, "memoryBytes" | "cpuMillis" | "pids" | "diskBytes">;

const jobGroup = "/sys/fs/cgroup/job";
const factPrograms: Readonly<Record<keyof GuestFacts, readonly string[]>> = {
  status: ["cat", "/proc/self/status"],
  mountinfo: ["cat", "/proc/self/mountinfo"],
  netDev: ["cat", "/proc/self/net/dev"],
  namespaces: ["sh", "-c", "readlink /proc/self/ns/*"],
};

/** Runs programs with the job's rights that read what holds for them. */
export async function readFacts(
  run: (argv: readonly string[]) => Promise<string>,
): Promise<GuestFacts> {
  return {
    status: await run(factPrograms.status),
    mountinfo: await run(factPrograms.mountinfo),
    netDev: await run(factPrograms.netDev),
    namespaces: await run(factPrograms.namespaces),
  };
}

/** Reads the caps. Throws SANDBOX_FAILED when the guest shows none. */
export async function readCaps(channel: ResidentChannel): Promise<GuestCaps> {
  const [memory, cpu, pids, disk] = await Promise.all([
    measured(channel, `${jobGroup}/memory.max`, numberOf),
    measured(channel, `${jobGroup}/cpu.max`, (text) => {
      const [quota, period] = text.split(" ").map(Number);
      return quota !== undefined && period ? (quota * 1000) / period : Number.NaN;
    }),
    measured(channel, `${jobGroup}/pids.max`, numberOf),
    measured(channel, "statfs:/work", (text) => {
      const [size = Number.NaN, blocks = Number.NaN] = text.split(" ").map(Number);
      return size * blocks;
    }),
  ]);
  return { memoryBytes: memory, cpuMillis: cpu, pids, diskBytes: disk };
}

/** What the job uses, as the guest's kernel counts it. Throws SANDBOX_FAILED for a broken guest. */
export async function readGuestStats(channel: ResidentChannel): Promise<SandboxStats> {
  const text = async (path: string) => (await channel.read(path)) ?? "";
  const [cpu, memory, peak, pids, refused, disk] = await Promise.all([
    text(`${jobGroup}/cpu.stat`),
    text(`${jobGroup}/memory.current`),
    text(`${jobGroup}/memory.peak`),
    text(`${jobGroup}/pids.current`),
    text(`${jobGroup}/pids.events`),
    text("statfs:/work"),
  ]);
  const field = (of: string, name: string) =>
    Number(new RegExp(`^${name} (\\d+)$`, "m").exec(of)?.[1] ?? Number.NaN);
  const [size = Number.NaN, blocks = Number.NaN, free = Number.NaN] = disk.split(" ").map(Number);
  const stats: SandboxStats = {
    cpuMs: field(cpu, "usage_usec") / 1000,
    throttledMs: field(cpu, "throttled_usec") / 1000,
    memoryBytes: numberOf(memory),
    // Kernels before 5.19 keep no peak.
    peakMemoryBytes: Math.max(numberOf(peak) || 0, numberOf(memory)),
    pids: numberOf(pids),
    pidsRefused: field(refused, "max"),
    diskBytes: size * (blocks - free),
  };
  if (Object.values(stats).some((value) => !Number.isFinite(value))) {
    throw failed("the guest does not show what it uses");
  }
  return stats;
}

/** What a guest's receipt is made of. */
export interface GuestReceiptParts {
  readonly driver: string;
  readonly engine: string;
  readonly facts: GuestFacts;
  /** Where and when the facts were read; the sources say it. */
  readonly factsFrom: string;
  readonly caps: GuestCaps;
}

/** The receipt of a guest. Throws SANDBOX_FAILED when the facts are none. */
export function guestReceipt(parts: GuestReceiptParts): SandboxReceipt {
  const { driver, engine, facts, factsFrom, caps } = parts;
  const namespaces = new Map<string, string>();
  for (const name of facts.namespaces.trim().split("\n")) {
    namespaces.set(name.replace(/:.*/, ""), name);
  }
  try {
    // A kernel of its own shares no namespace with the host.
    const rights = processReceipt({ ...facts, namespaces }, new Map(), `${factsFrom}:/proc/self`);
    return { driver, isolation: "vm", engine, ...caps, ...rights };
  } catch (error: unknown) {
    throw sandboxFailed(driver, "the guest does not show what holds in it", error);
  }
}

async function measured(
  channel: ResidentChannel,
  path: string,
  parse: (text: string) => number,
): Promise<Measured<number>> {
  const value = parse(((await channel.read(path)) ?? "").trim());
  if (!Number.isFinite(value)) throw failed(`the guest does not show ${path}`);
  return { value, source: `guest:${path}` };
}

/** `max` and what is no number become NaN. */
function numberOf(text: string): number {
  return text.trim() === "" ? Number.NaN : Number(text);
}

const failed = (message: string) => sandboxFailed("vm", message);
