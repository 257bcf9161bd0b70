/**
 * What a sandbox of bubblewrap is held to, read back: by the kernel where it has
 * a control group and a disk of its own, by rlimits and a watch where not. Which
 * of the two it was is told by the sources.
 */
import { readFile } from "node:fs/promises";
import type { Cgroup } from "../cgroup.ts";
import { type CgroupLimits, noLimit } from "../cgroup-files.ts";
import type { SandboxLimits } from "../driver.ts";
import { readDiskReceipt, readProcessReceipt } from "../kernel-receipt.ts";
import type { Measured, SandboxReceipt } from "../receipt.ts";
import type { WorkDisk } from "../work-disk.ts";
import type { ProcessHost } from "./host.ts";
import { diskEveryMs, memoryEveryMs } from "./limit-watch.ts";

/** Where the values are found. */
export interface BwrapReceiptOptions {
  readonly host: Pick<ProcessHost, "engine" | "disk">;
  /** The sandbox's first process, as the host numbers it. */
  readonly init: number;
  readonly cgroup: Cgroup | undefined;
  readonly disk: WorkDisk;
  /** What the watch holds the sandbox to, where there is one. */
  readonly watched: SandboxLimits;
}

const mib = 1024 * 1024;

/** Reads everything back. Throws if the process is gone or a value cannot be read. */
export async function readBwrapReceipt(options: BwrapReceiptOptions): Promise<SandboxReceipt> {
  const { host, init, cgroup, disk, watched } = options;
  const rlimits = `/proc/${init}/limits`;
  const isWatched = cgroup === undefined || host.disk === "folder";
  const [process, text] = await Promise.all([
    readProcessReceipt(init),
    isWatched ? readFile(rlimits, "latin1") : "",
  ]);
  const limits = cgroup ? await cgroup.limits() : await weakLimits(init, rlimits, text, watched);
  const diskBytes =
    host.disk === "image"
      ? await readDiskReceipt(disk.work)
      : watchedValue(
          watched.diskMib,
          `du and nameless files every ${diskEveryMs} ms`,
          rlimits,
          text,
          "file size",
        );
  return {
    driver: "process",
    isolation: "process",
    engine: host.engine,
    ...limits,
    diskBytes,
    ...process,
  };
}

async function weakLimits(
  init: number,
  rlimits: string,
  text: string,
  watched: SandboxLimits,
): Promise<CgroupLimits> {
  const look = `smaps_rollup and memory files every ${memoryEveryMs} ms`;
  const status = `/proc/${init}/status`;
  return {
    memoryBytes: watchedValue(watched.memoryMib, look, rlimits, text, "data size"),
    cpuMillis: {
      value: 1000 * countCpus(await readFile(status, "latin1")),
      source: `${status}: Cpus_allowed_list`,
    },
    pids: { value: rlimit(text, "processes"), source: `${rlimits}: Max processes` },
  };
}

/** The sum is the watch's to hold; the kernel's own bound for each process stands beside it. */
function watchedValue(
  limitMib: number,
  look: string,
  rlimits: string,
  text: string,
  name: string,
): Measured<number> {
  const each = rlimit(text, name);
  if (each === noLimit) throw new Error(`${rlimits} does not bound the ${name}`);
  return {
    value: limitMib * mib,
    source: `watch (${look}); ${rlimits}: Max ${name} ${each} for each process`,
  };
}

/** The soft limit of that name in a `/proc/PID/limits`. */
function rlimit(text: string, name: string): number {
  const value = new RegExp(`^Max ${name} +(\\S+)`, "m").exec(text)?.[1];
  if (value === undefined) throw new Error(`there is no limit on the ${name}`);
  return value === "unlimited" ? noLimit : Number(value);
}

/** How many CPUs the `Cpus_allowed_list` of a `/proc/PID/status` names. */
function countCpus(status: string): number {
  const list = /^Cpus_allowed_list:\s*(\S+)/m.exec(status)?.[1] ?? "";
  return list.split(",").reduce((sum, range) => {
    const [first, last = first] = range.split("-").map(Number);
    return first === undefined || last === undefined ? sum : sum + last - first + 1;
  }, 0);
}
