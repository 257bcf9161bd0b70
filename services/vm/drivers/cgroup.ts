/**
 * Control groups, version 1 and 2: one group per sandbox for memory, CPU and
 * number of processes. Which processes belong in it is left to the caller.
 */
import { randomInt } from "node:crypto";
import { mkdir, readFile, rmdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import type { SandboxLimits } from "./driver.ts";
import { signalProcess } from "./process-tree.ts";

const cpuPeriodUs = 100_000;
const goneWithinMs = 5_000;

/** Where groups can be made on this host. */
export interface CgroupHost {
  /** `cgroup v1` or `cgroup v2`. */
  readonly name: string;
  /** Makes the group of a sandbox. Throws if a limit cannot be set. */
  create(id: string, limits: SandboxLimits): Promise<Cgroup>;
  /** The group of that id, whoever made it; for removing. */
  open(id: string): Cgroup;
}

/** One sandbox's group. */
export interface Cgroup {
  /** Puts a process in, and so all that it starts. */
  add(pid: number): Promise<void>;
  /** How many processes the memory cap has ended so far. */
  oomKills(): Promise<number>;
  /** Ends all processes in it and takes it away. Does nothing if it is not there. */
  remove(): Promise<void>;
}

/** Finds out by doing it whether groups can be made; undefined if not. */
export async function findCgroups(): Promise<CgroupHost | undefined> {
  const mounts = await readFile("/proc/self/mounts", "utf8");
  for (const host of [v1Host(mounts), v2Host(mounts)]) {
    if (host === undefined) continue;
    const id = `probe-${process.pid}-${randomInt(1_000_000)}`;
    try {
      const limits = { memoryMib: 64, cpuMillis: 1000, pids: 16, diskMib: 1 };
      const group = await host.create(id, limits);
      await group.oomKills();
      await group.remove();
      return host;
    } catch {
      // Not ours to write to, or a controller is missing: the next one, or none.
      await host
        .open(id)
        .remove()
        .catch(() => {});
    }
  }
  return undefined;
}

function v1Host(mounts: string): CgroupHost | undefined {
  const folderOf = (controller: string) =>
    mounts
      .split("\n")
      .map((line) => line.split(" "))
      .find(
        ([, , type, options]) => type === "cgroup" && options?.split(",").includes(controller),
      )?.[1];
  const [memory, cpu, pids] = ["memory", "cpu", "pids"].map(folderOf);
  if (memory === undefined || cpu === undefined || pids === undefined) return undefined;
  const open = (id: string) => {
    const folders = [memory, cpu, pids].map((folder) => join(folder, "devmesh", id));
    return group(folders, join(memory, "devmesh", id, "memory.oom_control"));
  };
  return {
    name: "cgroup v1",
    open,
    async create(id, limits) {
      const bytes = String(limits.memoryMib * 1024 * 1024);
      await Promise.all([
        make(
          join(memory, "devmesh", id),
          { "memory.limit_in_bytes": bytes },
          { "memory.memsw.limit_in_bytes": bytes },
        ),
        make(join(cpu, "devmesh", id), {
          "cpu.cfs_period_us": String(cpuPeriodUs),
          "cpu.cfs_quota_us": String((limits.cpuMillis * cpuPeriodUs) / 1000),
        }),
        make(join(pids, "devmesh", id), { "pids.max": String(limits.pids) }),
      ]);
      return open(id);
    },
  };
}

function v2Host(mounts: string): CgroupHost | undefined {
  const root = mounts
    .split("\n")
    .map((line) => line.split(" "))
    .find(([, , type]) => type === "cgroup2")?.[1];
  if (root === undefined) return undefined;
  const parent = join(root, "devmesh");
  const open = (id: string) => group([join(parent, id)], join(parent, id, "memory.events"));
  return {
    name: "cgroup v2",
    open,
    async create(id, limits) {
      await mkdir(parent, { recursive: true });
      for (const folder of [root, parent]) {
        await writeFile(join(folder, "cgroup.subtree_control"), "+memory +cpu +pids");
      }
      await make(
        join(parent, id),
        {
          "memory.max": String(limits.memoryMib * 1024 * 1024),
          "cpu.max": `${(limits.cpuMillis * cpuPeriodUs) / 1000} ${cpuPeriodUs}`,
          "pids.max": String(limits.pids),
        },
        { "memory.swap.max": "0" },
      );
      return open(id);
    },
  };
}

/** `optional` are the files that a kernel without swap accounting lacks. */
async function make(
  folder: string,
  files: Readonly<Record<string, string>>,
  optional: Readonly<Record<string, string>> = {},
): Promise<void> {
  await mkdir(folder, { recursive: true });
  for (const [name, value] of Object.entries(files)) await writeFile(join(folder, name), value);
  for (const [name, value] of Object.entries(optional)) {
    try {
      await writeFile(join(folder, name), value, { flag: "r+" });
    } catch (error: unknown) {
      if (!isCode(error, "ENOENT")) throw error;
    }
  }
}

function group(folders: readonly string[], oomFile: string): Cgroup {
  return {
    async add(pid) {
      await Promise.all(
        folders.map((folder) => writeFile(join(folder, "cgroup.procs"), String(pid))),
      );
    },
    async oomKills() {
      try {
        return Number(/^oom_kill (\d+)$/m.exec(await readFile(oomFile, "latin1"))?.[1] ?? 0);
      } catch (error: unknown) {
        // The sandbox was deleted (ENODEV: while this read): that, and not the cap, ended what was in it.
        if (isCode(error, "ENOENT") || isCode(error, "ENODEV")) return 0;
        throw error;
      }
    },
    async remove() {
      const deadline = Date.now() + goneWithinMs;
      for (const folder of folders) {
        while (!(await removed(folder))) {
          if (Date.now() > deadline) throw new Error(`${folder}: its processes do not end`);
          await pause(2);
        }
      }
    },
  };
}

/** True when the group is gone; ends what is in it otherwise. */
async function removed(folder: string): Promise<boolean> {
  try {
    await rmdir(folder);
    return true;
  } catch (error: unknown) {
    if (isCode(error, "ENOENT")) return true;
    if (!isCode(error, "EBUSY")) throw error;
  }
  const pids = (await readFile(join(folder, "cgroup.procs"), "latin1")).split("\n").filter(Boolean);
  for (const pid of pids) signalProcess(Number(pid), "SIGKILL");
  return false;
}

function isCode(error: unknown, code: string): boolean {
  return error instanceof Error && "code" in error && error.code === code;
}
