/** Finders for what the kernel keeps of sandboxes: processes, mounts, loop devices, control groups. */
import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { findCgroups } from "../../drivers/cgroup.ts";
import { readMounts } from "../../drivers/mount-table.ts";
import { commandLine, signalProcess, startTicks } from "../../drivers/process-tree.ts";
import { runTool } from "../../drivers/run-tool.ts";
import type { FinderContext, Leftover, LeftoverFinder } from "../leftover.ts";

/** The longest wait for a killed process to be gone. */
const deathLimitMs = 5_000;

/** A sandbox's id in a path of this state folder; undefined in any other. */
function idIn(path: string, { stateDir }: FinderContext): string | undefined {
  // Where a state folder cannot be reached by other users, what they must reach is in `/run`.
  const digest = createHash("sha256").update(join(stateDir, "process")).digest("hex");
  const roots = [`${stateDir}/`, `/run/devmesh-${digest.slice(0, 16)}/`];
  const root = roots.find((one) => path.includes(one));
  if (root === undefined) return undefined;
  return /\/(sbx_\w+)/.exec(path.slice(path.indexOf(root) + root.length - 1))?.[1];
}

/** Programs of the host that run a sandbox: bubblewrap, QEMU. They name its folder. */
export const processFinder: LeftoverFinder = {
  kind: "process",
  find: async (context) => {
    const found: Leftover[] = [];
    for (const name of await readdir("/proc")) {
      const pid = Number(name);
      if (!Number.isInteger(pid) || pid === process.pid) continue;
      const line = (await commandLine(pid)).replaceAll("\0", " ");
      const id = idIn(line, context);
      if (id === undefined) continue;
      const began = await startTicks(pid);
      found.push({
        kind: "process",
        name: `${pid} ${line.slice(0, 80)}`,
        sandboxId: id,
        remove: () => endProcess(pid, began),
      });
    }
    return found;
  },
};

async function endProcess(pid: number, began: string): Promise<void> {
  const deadline = Date.now() + deathLimitMs;
  // Its number may be another's by now: its start tells.
  while (began !== "" && (await startTicks(pid)) === began) {
    if (Date.now() > deadline) throw new Error(`process ${pid} does not end`);
    signalProcess(pid, "SIGKILL");
    await pause(10);
  }
}

/** Mounts below the state folder, the innermost first. */
export const mountFinder: LeftoverFinder = {
  kind: "mount",
  find: async (context) => {
    const mounts = await readMounts();
    return mounts
      .flatMap(({ path }): Leftover[] => {
        const sandboxId = idIn(`${path}/`, context);
        if (sandboxId === undefined) return [];
        return [{ kind: "mount", name: path, sandboxId, remove: () => unmount(path) }];
      })
      .reverse();
  },
};

async function unmount(path: string): Promise<void> {
  try {
    await runTool("umount", [path]);
  } catch (error: unknown) {
    if (!(await readMounts()).some((mount) => mount.path === path)) return;
    if (error instanceof Error && !/busy/.test(error.message)) throw error;
    // In use in another mount namespace for a moment: it goes when that one does.
    await runTool("umount", ["--lazy", path]);
  }
}

/** Loop devices whose image lies, or lay, in the state folder. */
export const loopFinder: LeftoverFinder = {
  kind: "loop device",
  find: async (context) => {
    const found: Leftover[] = [];
    for (const name of await readdir("/sys/block")) {
      if (!name.startsWith("loop")) continue;
      const image = await imageOf(name);
      const sandboxId = idIn(image, context);
      if (sandboxId === undefined) continue;
      const remove = async () => {
        // Another's by now, or free.
        if ((await imageOf(name)) !== image) return;
        await runTool("losetup", ["--detach", `/dev/${name}`]);
      };
      found.push({ kind: "loop device", name: `/dev/${name} ${image}`, sandboxId, remove });
    }
    return found;
  },
};

async function imageOf(name: string): Promise<string> {
  try {
    return (await readFile(join("/sys/block", name, "loop", "backing_file"), "utf8")).trim();
  } catch {
    // It is free.
    return "";
  }
}

/** Control groups of sandboxes that an earlier journal of this folder names. */
export function groupFinder(): LeftoverFinder {
  let host: ReturnType<typeof findCgroups> | undefined;
  return {
    kind: "control group",
    find: async ({ orphaned }) => {
      if (orphaned.size === 0) return [];
      host ??= findCgroups();
      const groups = await host;
      if (groups === undefined) return [];
      const names = new Set<string>();
      for (const base of await groupFolders()) {
        for (const name of await readdir(base).catch(() => [])) names.add(name);
      }
      return [...names]
        .filter((name) => orphaned.has(name))
        .map((name) => ({
          kind: "control group" as const,
          name: `devmesh/${name}`,
          sandboxId: name,
          remove: () => groups.open(name).remove(),
        }));
    },
  };
}

async function groupFolders(): Promise<string[]> {
  const root = "/sys/fs/cgroup";
  const controllers = await readdir(root).catch(() => []);
  return [join(root, "devmesh"), ...controllers.map((name) => join(root, name, "devmesh"))];
}
