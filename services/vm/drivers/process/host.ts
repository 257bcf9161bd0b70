/**
 * What this host offers for process sandboxes, found once by trying: control
 * groups, images for the disk, and the small `/etc` that sandboxes see.
 */
import { createHash } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { lstat, mkdir, readlink, realpath, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type CgroupHost, findCgroups } from "../cgroup.ts";
import { runTool } from "../run-tool.ts";
import { type DiskKind, findDiskKind, isReachableByAll } from "../work-disk.ts";
import { seccompFilter } from "./seccomp.ts";

/** The user that programs see themselves as. */
export const innerUser = 1000;

/** A host that process sandboxes can be made on. */
export interface ProcessHost {
  /** Absolute path of bubblewrap. */
  readonly bwrap: string;
  /** For example `bubblewrap 0.8.0, cgroup v1, disk image`. */
  readonly engine: string;
  /** Where sandboxes' folders lie. */
  readonly base: string;
  /**
   * Where each sandbox has a second folder, with what its user must reach: the
   * same as `base`, or a folder in `/run` where the way to `base` is closed for
   * other users. What lies there is in use or empty, never kept.
   */
  readonly reach: string;
  /** Absent: limits by rlimits and a watch. */
  readonly cgroups: CgroupHost | undefined;
  readonly disk: DiskKind;
  /** True if this process is root: each sandbox gets a user of its own then. */
  readonly root: boolean;
  /** The seccomp filter's file; absent on processors without one. */
  readonly seccomp: string | undefined;
  /** Arguments of bubblewrap for the read-only system folders. */
  readonly system: readonly string[];
}

/** Finds out what there is. Throws if bubblewrap is not. */
export async function findHost(bwrap: string, stateDir: string): Promise<ProcessHost> {
  const version = (await runTool(bwrap, ["--version"])).trim();
  const root = process.getuid?.() === 0;
  await mkdir(stateDir, { recursive: true });
  const base = join(await realpath(stateDir), "process");
  await mkdir(base, { recursive: true, mode: 0o711 });
  // Root's sandboxes run as other users.
  const closed = root && !(await isReachableByAll(join(base, "sandbox")));
  const name = createHash("sha256").update(base).digest("hex").slice(0, 16);
  const [cgroups, disk] = root
    ? await Promise.all([findCgroups(), findDiskKind(base)])
    : ([undefined, "folder"] as const);
  const filter = seccompFilter();
  const seccomp = filter && join(base, "seccomp.bpf");
  if (filter && seccomp) await writeFile(seccomp, filter, { mode: 0o644 });
  const limits = cgroups?.name ?? "rlimits and a watch";
  return {
    bwrap,
    engine: `${version}, ${limits}, ${disk === "image" ? "disk image" : "watched disk"}`,
    base,
    reach: closed ? `/run/devmesh-${name}` : base,
    cgroups,
    disk,
    root,
    seccomp,
    system: await systemFolders(),
  };
}

async function systemFolders(): Promise<string[]> {
  const args = ["--ro-bind", "/usr", "/usr"];
  for (const path of ["/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"]) {
    const found = await lstat(path).catch(() => undefined);
    if (found?.isSymbolicLink()) args.push("--symlink", await readlink(path), path);
    else if (found?.isDirectory()) args.push("--ro-bind", path, path);
  }
  return args;
}

const etcFiles: Readonly<Record<string, string>> = {
  passwd: `devmesh:x:${innerUser}:${innerUser}:devmesh:/tmp:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n`,
  group: `devmesh:x:${innerUser}:\nnogroup:x:65534:\n`,
  hosts: "127.0.0.1 localhost\n::1 localhost\n",
  hostname: "devmesh\n",
  "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
  "ld.so.cache": "",
};

/** Makes a sandbox's `/etc`: accounts and names made up. */
export function makeEtc(folder: string): void {
  mkdirSync(join(folder, "ssl", "certs"), { recursive: true, mode: 0o755 });
  mkdirSync(join(folder, "alternatives"), { mode: 0o755 });
  for (const [name, text] of Object.entries(etcFiles)) {
    writeFileSync(join(folder, name), text, { mode: 0o644 });
  }
}

/** bubblewrap's arguments for it; of the host's only what programs need to be found. */
export function etcArguments(folder: string): string[] {
  const shown = ["/etc/alternatives", "/etc/ssl/certs", "/etc/ld.so.cache"];
  return ["--ro-bind", folder, "/etc", ...shown.flatMap((path) => ["--ro-bind-try", path, path])];
}
