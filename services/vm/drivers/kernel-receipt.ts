/**
 * What the kernel shows of one process: user, rights, namespaces, network and
 * mounts, as members of a receipt. Control groups are left to `cgroup.ts`, and
 * which process stands for a sandbox to the drivers.
 */
import { readdir, readFile, readlink, statfs } from "node:fs/promises";
import { type Mount, parseMounts } from "./mount-table.ts";
import type { Measured, SandboxReceipt } from "./receipt.ts";

/** The members of a receipt that one process shows. */
export type ProcessReceipt = Pick<
  SandboxReceipt,
  | "uid"
  | "gid"
  | "noNewPrivileges"
  | "seccomp"
  | "capabilities"
  | "namespaces"
  | "interfaces"
  | "mounts"
  | "readOnlyRoot"
>;

/** The files of one process in the kernel's own words. */
export interface ProcessFiles {
  /** `/proc/PID/status`. */
  readonly status: string;
  /** `/proc/PID/mountinfo`. */
  readonly mountinfo: string;
  /** `/proc/PID/net/dev`. */
  readonly netDev: string;
  /** The links of `/proc/PID/ns`, by their kind: `net` → `net:[4026531833]`. */
  readonly namespaces: ReadonlyMap<string, string>;
}

/**
 * Reads one process of this host. The values are the host's own: a user id is
 * the one that the host's kernel checks, whatever the process sees. Throws if
 * the process is gone or cannot be read.
 */
export async function readProcessReceipt(pid: number): Promise<ProcessReceipt> {
  const folder = `/proc/${pid}`;
  const [status, mountinfo, netDev, namespaces, own] = await Promise.all([
    readFile(`${folder}/status`, "utf8"),
    readFile(`${folder}/mountinfo`, "utf8"),
    readFile(`${folder}/net/dev`, "utf8"),
    readNamespaces(`${folder}/ns`),
    readNamespaces("/proc/self/ns"),
  ]);
  return processReceipt({ status, mountinfo, netDev, namespaces }, own, folder);
}

/**
 * The receipt of a process whose files were read elsewhere. `outside` are the
 * namespaces of the host that it shall differ from; `folder` is where the files
 * were found, for the sources: `/proc/42`, `guest:/proc/42`.
 */
export function processReceipt(
  files: ProcessFiles,
  outside: ReadonlyMap<string, string>,
  folder: string,
): ProcessReceipt {
  const status = (name: string) => {
    const value = new RegExp(`^${name}:\\s*(.*)$`, "m").exec(files.status)?.[1];
    if (value === undefined) throw new Error(`${folder}/status has no ${name}`);
    return value.trim();
  };
  const source = (name: string) => `${folder}/${name}`;
  // Real, effective, saved and file system's: the first is not root if none of them is.
  const id = (name: string): Measured<number> => {
    const ids = status(name).split(/\s+/).map(Number);
    return { value: ids.includes(0) ? 0 : (ids[0] ?? 0), source: source(`status: ${name}`) };
  };
  const mounts = parseMounts(files.mountinfo);
  return {
    uid: id("Uid"),
    gid: id("Gid"),
    noNewPrivileges: {
      value: status("NoNewPrivs") === "1",
      source: source("status: NoNewPrivs"),
    },
    seccomp: { value: status("Seccomp") === "2", source: source("status: Seccomp") },
    capabilities: {
      value: {
        effective: status("CapEff"),
        permitted: status("CapPrm"),
        bounding: status("CapBnd"),
      },
      source: source("status: CapEff, CapPrm, CapBnd"),
    },
    namespaces: {
      value: [...files.namespaces]
        .filter(([kind, name]) => outside.get(kind) !== name)
        .map(([kind]) => kind)
        .sort(),
      source: source("ns"),
    },
    interfaces: { value: parseInterfaces(files.netDev), source: source("net/dev") },
    mounts: {
      value: mounts.map(({ path, type, options }) => ({ path, type, options })),
      source: source("mountinfo"),
    },
    readOnlyRoot: {
      // The last one mounted at a place is the one that is seen.
      value: isReadOnly(mounts.findLast(({ path }) => path === "/")),
      source: source("mountinfo: /"),
    },
  };
}

/** The names of the interfaces in a `net/dev`. */
export function parseInterfaces(netDev: string): string[] {
  return netDev
    .split("\n")
    .slice(2)
    .map((line) => line.split(":")[0]?.trim() ?? "")
    .filter((name) => name !== "");
}

/** The size of the file system that holds a folder, all of it, in bytes. */
export async function readDiskReceipt(folder: string): Promise<Measured<number>> {
  const { blocks, bsize } = await statfs(folder);
  return { value: blocks * bsize, source: `statfs ${folder}` };
}

/** What of that file system is in use, in bytes. */
export async function readDiskUse(folder: string): Promise<number> {
  const { blocks, bfree, bsize } = await statfs(folder);
  return (blocks - bfree) * bsize;
}

/** A mount is read-only by itself, or because its file system is. */
function isReadOnly(mount: Mount | undefined): boolean {
  const lists = [mount?.options, mount?.superOptions];
  return lists.some((list) => list?.split(",").includes("ro"));
}

async function readNamespaces(folder: string): Promise<Map<string, string>> {
  // What children would get is not what the process itself is in.
  const kinds = (await readdir(folder)).filter((kind) => !kind.endsWith("_for_children"));
  const links = kinds.map(async (kind) => [kind, await readlink(`${folder}/${kind}`)] as const);
  return new Map(await Promise.all(links));
}
