/** What a run must not leave on the host: processes, machines, mounts, loop devices, groups, folders, drafts, doors. */
import { globSync, readdirSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { doorstep, isMachine, ownPaths } from "./own-paths.ts";
import { runVariable } from "./platform.ts";
import { processesOf } from "./processes.ts";

/** What is looked for. */
export interface LeftoverOptions {
  /** The run's id. */
  readonly run: string;
  /** The run's folder. */
  readonly folder: string;
  readonly stateDirs: readonly string[];
  /** Every sandbox that is known to have been there. */
  readonly sandboxes: Iterable<string>;
  /** Every process that a part has been. */
  readonly pids: Iterable<number>;
}

/** The first word or words of each line, but for those of leases and of an engine. */
export const leftoverKinds = [
  ...["virtual machine", "process", "mount", "loop device", "control group"],
  ...["folder", "draft", "door"],
] as const;

/** What is there, a line each; empty if nothing is. Called when every part has stopped. */
export function findLeftovers(options: LeftoverOptions): string[] {
  const { run, folder, stateDirs, sandboxes, pids } = options;
  const ids = new Set(sandboxes);
  const marks = [`${runVariable}=${run}`, `chaos-${run}-`, ...ownPaths(folder, stateDirs)];
  return [
    ...processesOf(marks).map(({ pid, commandLine: line }) => {
      const kind = isMachine(line) ? "virtual machine" : "process";
      return `${kind} ${pid}: ${line.slice(0, 200)}`;
    }),
    ...mounts(ownPaths(folder, stateDirs), ids).map((line) => `mount ${line}`),
    ...loops(folder).map((line) => `loop device ${line}`),
    ...groups(ids).map((path) => `control group ${path}`),
    ...stateDirs.flatMap((dir) => folders(dir)).map((path) => `folder ${path}`),
    ...stateDirs
      .map(doorstep)
      .flatMap((dir) => namesIn(dir).map((name) => join(dir, name)))
      .map((path) => `folder ${path}`),
    ...stateDirs.flatMap((dir) => drafts(dir)).map((path) => `draft ${path}`),
    ...[...pids]
      .flatMap((pid) => globSync(join(tmpdir(), `dm-door-${pid}.*`)))
      .map((path) => `door ${path}`),
  ];
}

/** The ids of the sandboxes that have a folder now. */
export function sandboxFolders(stateDirs: readonly string[]): string[] {
  return stateDirs
    .flatMap((dir) => folders(dir))
    .flatMap((path) => /sbx_\w+$/.exec(path)?.[0] ?? []);
}

/** What no sandbox shares with others, in any driver's room, and attempts. */
function folders(stateDir: string): string[] {
  return namesIn(stateDir)
    .filter((room) => !sharedRooms.includes(room))
    .flatMap((room) =>
      namesIn(join(stateDir, room))
        .filter((name) => /^(sbx|own|job)_/.test(name))
        .map((name) => join(stateDir, room, name)),
    );
}

/** What is kept for more than one sandbox. */
const sharedRooms = ["snapshots", "mounts", "journal"];

/** Halves of what is kept: of snapshots, of disks, of images, of folders. */
function drafts(stateDir: string): string[] {
  const patterns = [
    "snapshots/.draft*",
    "*/templates/*.img.*",
    "mounts/.*",
    "vms/.*",
    "journal/*.new",
  ];
  return globSync(patterns.map((pattern) => join(stateDir, pattern)));
}

function mounts(paths: readonly string[], ids: ReadonlySet<string>): string[] {
  return textOf("/proc/self/mounts")
    .split("\n")
    .flatMap((line) => line.split(" ")[1] ?? [])
    .filter(
      (mount) =>
        paths.some((path) => mount.startsWith(path)) || ids.has(/sbx_\w+/.exec(mount)?.[0] ?? ""),
    );
}

/** Images of the run's folder that a loop device still holds, removed ones among them. */
function loops(folder: string): string[] {
  return namesIn("/sys/block").flatMap((name) => {
    const image = textOf(join("/sys/block", name, "loop", "backing_file")).trim();
    return image.startsWith(folder) ? [`${name} ${image}`] : [];
  });
}

function groups(ids: ReadonlySet<string>): string[] {
  return globSync(["/sys/fs/cgroup/devmesh/*", "/sys/fs/cgroup/*/devmesh/*"]).filter((path) =>
    ids.has(path.slice(path.lastIndexOf("/") + 1)),
  );
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    // It was never made.
    return [];
  }
}

function textOf(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    // No such file system here.
    return "";
  }
}
