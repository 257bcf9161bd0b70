/** The limits of a container's group as the container sees them, control groups 1 and 2. */
import { type CgroupLimits, noLimit } from "../cgroup-files.ts";
import type { Measured } from "../receipt.ts";
import type { ResidentChannel } from "../resident/channel.ts";

const root = "/sys/fs/cgroup";

/** Read by the resident, for an engine on another kernel. Throws where a limit is not shown. */
export async function readInsideLimits(channel: ResidentChannel): Promise<CgroupLimits> {
  const at = async <T>(path: string, value: (text: string) => T): Promise<Measured<T>> => {
    const text = await channel.read(`${root}/${path}`);
    if (text === undefined) throw new Error(`there is no ${root}/${path} in the container`);
    return { value: value(text.trim()), source: `inside:${root}/${path}` };
  };
  if ((await channel.read(`${root}/memory.max`)) !== undefined) {
    const [memoryBytes, swap, cpuMillis, pids] = await Promise.all([
      at("memory.max", count),
      at("memory.swap.max", count).catch(() => undefined),
      at("cpu.max", (text) => {
        const [quota = "max", period = "100000"] = text.split(" ");
        return quota === "max" ? noLimit : (Number(quota) * 1000) / Number(period);
      }),
      at("pids.max", count),
    ]);
    const limits = { memoryBytes, cpuMillis, pids };
    // A kernel without swap accounting has no such file.
    if (swap === undefined) return limits;
    const both = { value: memoryBytes.value + swap.value, source: swap.source };
    return { ...limits, memoryAndSwapBytes: both };
  }
  const [memoryBytes, memoryAndSwapBytes, quota, period, pids] = await Promise.all([
    at("memory/memory.limit_in_bytes", count),
    at("memory/memory.memsw.limit_in_bytes", count).catch(() => undefined),
    at("cpu/cpu.cfs_quota_us", Number),
    at("cpu/cpu.cfs_period_us", Number),
    at("pids/pids.max", count),
  ]);
  const cpu = quota.value < 0 ? noLimit : (quota.value * 1000) / period.value;
  const limits = { memoryBytes, cpuMillis: { value: cpu, source: quota.source }, pids };
  return memoryAndSwapBytes === undefined ? limits : { ...limits, memoryAndSwapBytes };
}

function count(text: string): number {
  return text === "max" ? noLimit : Number(text);
}
