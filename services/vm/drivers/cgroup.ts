/**
 * Control groups, version 1 and 2: one group per sandbox for memory, CPU and
 * number of processes. Which processes belong in it is left to the caller, the
 * files of a group to `cgroup-files.ts`.
 */
import { randomInt } from "node:crypto";
import { mkdir, readFile, rmdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import {
  type CgroupFolders,
  type CgroupLimits,
  type CgroupUsage,
  canFreeze,
  closeStarts,
  cpuPeriodUs,
  easeEnd,
  foldersOf,
  isCode,
  letGo,
  readLimits,
  readOomKills,
  readPidsRefused,
  readProcesses,
  readUsage,
  setFrozen,
  watchPidsRefused,
  writeCpu,
} from "./cgroup-files.ts";
import type { SandboxLimits } from "./driver.ts";
import { parseMounts } from "./mount-table.ts";
import { signalProcess } from "./process-tree.ts";

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

/** What a group has counted so far, also when it is gone. */
export interface RefusalWatch {
  readonly refused: number;
  close(): void;
}

/** One sandbox's group. */
export interface Cgroup {
  /** False where the kernel has no freezer for it. */
  readonly canFreeze: boolean;
  /** Puts a process in, and so all that it starts. */
  add(pid: number): Promise<void>;
  /** The processes in it now; none if it is gone. */
  processes(): Promise<number[]>;
  /** How many processes the memory cap has ended so far; 0 if it is gone. */
  oomKills(): Promise<number>;
  /** How many starts of a process its cap has refused so far; 0 if it is gone. */
  pidsRefused(): Promise<number>;
  /**
   * Counts refused starts of a process as they come, for a group that may be gone when one
   * asks.
   */
  watchPidsRefused(): RefusalWatch;
  /** Its limits, read back from the kernel. Throws if it is not there. */
  limits(): Promise<CgroupLimits>;
  /**
   * Gives it another share of the processors. `behind`: beside other sandboxes' groups it gets
   * little but what they leave. Throws if it is not there.
   */
  holdCpu(cpuMillis: number, behind: boolean): Promise<void>;
  /** What it uses now. Throws if it is not there. */
  usage(): Promise<CgroupUsage>;
  /** Stops all in it where it stands. Throws where it cannot. */
  freeze(): Promise<void>;
  /** Lets all in it go on; nothing happens if it is gone or cannot be frozen. */
  thaw(): Promise<void>;
  /** Ends all processes in it but `pid`, and lets nothing start until they are gone. */
  endAllBut(pid: number): Promise<void>;
  /** For one that is about to be ended by others: nothing more starts, and its caps let all die. */
  easeEnd(): Promise<void>;
  /** Ends all processes in it, frozen or not, and takes it away. Does nothing if it is not there. */
  remove(): Promise<void>;
}

/** Finds out by doing it whether groups can be made; undefined if not. */
export async function findCgroups(): Promise<CgroupHost | undefined> {
  for (const host of cgroupHosts(await readFile("/proc/self/mounts", "utf8"))) {
    const id = `probe-${process.pid}-${randomInt(1_000_000)}`;
    try {
      const limits = { memoryMib: 64, cpuMillis: 1000, pids: 16, diskMib: 1 };
      const group = await host.create(id, limits);
      await group.limits();
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

/** The hierarchies of a table of mounts that have what a sandbox needs, version 1 first. */
export function cgroupHosts(mounts: string): CgroupHost[] {
  const table = mounts.split("\n").map((line) => line.split(" "));
  return [v1Host(table), v2Host(table)].filter((host) => host !== undefined);
}

/**
 * The group that a process of this host is in, whoever made it: for the
 * containers of an engine. Throws if there is no group with the needed controllers.
 */
export async function cgroupOf(pid: number): Promise<Cgroup> {
  const [membership, mountinfo] = await Promise.all([
    readFile(`/proc/${pid}/cgroup`, "latin1"),
    readFile("/proc/self/mountinfo", "utf8"),
  ]);
  const at = groupFolders(membership, mountinfo);
  if (at === undefined) throw new Error(`process ${pid} is in no group that bounds it`);
  return openGroup(at);
}

/** The folders of the group that `/proc/PID/cgroup` names, by this process's mounts. */
export function groupFolders(membership: string, mountinfo: string): CgroupFolders | undefined {
  const paths = new Map<string, string>();
  for (const line of membership.split("\n").filter(Boolean)) {
    const [, controllers = "", ...path] = line.split(":");
    for (const name of controllers.split(",")) paths.set(name, path.join(":"));
  }
  const mounts = parseMounts(mountinfo);
  const folderOf = (controller: string) => {
    const mount = mounts.find(({ type, superOptions }) => {
      if (controller === "") return type === "cgroup2";
      return type === "cgroup" && superOptions.split(",").includes(controller);
    });
    const path = paths.get(controller);
    if (mount === undefined || path === undefined) return undefined;
    // A container without a namespace of groups sees its own group mounted, by the host's path.
    const isBelow = mount.root !== "/" && path.startsWith(mount.root);
    return join(mount.path, isBelow ? path.slice(mount.root.length) : path);
  };
  const [memory, cpu, pids] = ["memory", "cpu", "pids"].map(folderOf);
  if (memory !== undefined && cpu !== undefined && pids !== undefined) {
    const [cpuacct, freezer] = ["cpuacct", "freezer"].map(folderOf);
    return { version: 1, memory, cpu, pids, cpuacct, freezer };
  }
  const folder = folderOf("");
  return folder === undefined ? undefined : { version: 2, folder };
}

function v1Host(mounts: readonly string[][]): CgroupHost | undefined {
  const folderOf = (controller: string) =>
    mounts.find(
      ([, , type, options]) => type === "cgroup" && options?.split(",").includes(controller),
    )?.[1];
  const [memory, cpu, pids] = ["memory", "cpu", "pids"].map(folderOf);
  if (memory === undefined || cpu === undefined || pids === undefined) return undefined;
  const [cpuacct, freezer] = ["cpuacct", "freezer"].map(folderOf);
  const foldersAt = (id: string) => {
    const at = (root: string) => join(root, "devmesh", id);
    return {
      version: 1 as const,
      ...{ memory: at(memory), cpu: at(cpu), pids: at(pids) },
      ...(cpuacct !== undefined && { cpuacct: at(cpuacct) }),
      ...(freezer !== undefined && { freezer: at(freezer) }),
    };
  };
  return {
    name: "cgroup v1",
    open: (id) => openGroup(foldersAt(id)),
    async create(id, limits) {
      const bytes = String(limits.memoryMib * 1024 * 1024);
      const at = foldersAt(id);
      const others = foldersOf(at).filter(
        (folder) => ![at.memory, at.cpu, at.pids].includes(folder),
      );
      await Promise.all([
        make(
          at.memory,
          { "memory.limit_in_bytes": bytes },
          { "memory.memsw.limit_in_bytes": bytes },
        ),
        make(at.cpu, {
          "cpu.cfs_period_us": String(cpuPeriodUs),
          "cpu.cfs_quota_us": String((limits.cpuMillis * cpuPeriodUs) / 1000),
        }),
        make(at.pids, { "pids.max": String(limits.pids) }),
        ...others.map((folder) => make(folder, {})),
      ]);
      return openGroup(at);
    },
  };
}

function v2Host(mounts: readonly string[][]): CgroupHost | undefined {
  const root = mounts.find(([, , type]) => type === "cgroup2")?.[1];
  if (root === undefined) return undefined;
  const parent = join(root, "devmesh");
  const open = (id: string) => openGroup({ version: 2, folder: join(parent, id) });
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

/** The group in those folders, which may be there or not. */
export function openGroup(at: CgroupFolders): Cgroup {
  const folders = foldersOf(at);
  return {
    canFreeze: canFreeze(at),
    async add(pid) {
      await Promise.all(
        folders.map((folder) => writeFile(join(folder, "cgroup.procs"), String(pid))),
      );
    },
    processes: () => readProcesses(at),
    oomKills: () => readOomKills(at),
    pidsRefused: () => readPidsRefused(at),
    watchPidsRefused: () => watchPidsRefused(at),
    limits: () => readLimits(at),
    holdCpu: (cpuMillis, behind) => writeCpu(at, cpuMillis, behind),
    usage: () => readUsage(at),
    freeze: () => setFrozen(at, true),
    thaw: () => letGo(at),
    async endAllBut(pid) {
      const reopen = await closeStarts(at);
      try {
        const deadline = Date.now() + goneWithinMs;
        for (;;) {
          const others = (await readProcesses(at)).filter((other) => other !== pid);
          if (others.length === 0) return;
          if (Date.now() > deadline) throw new Error(`${folders[0]}: its processes do not end`);
          for (const other of others) signalProcess(other, "SIGKILL");
          await pause(2);
        }
      } finally {
        await reopen();
      }
    },
    easeEnd: () => easeEnd(at),
    async remove() {
      await easeEnd(at);
      // A frozen process of version 1 does not even die.
      await letGo(at);
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
