/** What a run must not leave on the host: processes, mounts, control groups, sandboxes' folders. */
import { globSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { runVariable } from "./platform.ts";
import { processesWith } from "./processes.ts";

/** What is looked for. */
export interface LeftoverOptions {
  /** The run's id. */
  readonly run: string;
  /** The run's folder. */
  readonly folder: string;
  readonly stateDirs: readonly string[];
  /** Every sandbox that is known to have been there. */
  readonly sandboxes: Iterable<string>;
}

/** What is there, a line each; empty if nothing is. Called when every part has stopped. */
export function findLeftovers({ run, folder, stateDirs, sandboxes }: LeftoverOptions): string[] {
  const ids = new Set(sandboxes);
  const processes = [`${runVariable}=${run}`, `chaos-${run}-`, folder].flatMap(processesWith);
  const found = new Map(processes.map(({ pid, commandLine }) => [pid, commandLine]));
  return [
    ...[...found].map(([pid, line]) => `process ${pid}: ${line.slice(0, 200)}`),
    ...mounts(folder, ids).map((line) => `mount ${line}`),
    ...loops(folder).map((line) => `loop device ${line}`),
    ...groups(ids).map((path) => `control group ${path}`),
    ...stateDirs.flatMap((dir) => folders(dir)).map((path) => `folder ${path}`),
    ...globSync("/run/devmesh-*/sbx_*")
      .filter((path) => [...ids].some((id) => path.endsWith(id)))
      .map((path) => `folder ${path}`),
  ];
}

/** The ids of the sandboxes that have a folder now. */
export function sandboxFolders(stateDirs: readonly string[]): string[] {
  return stateDirs
    .flatMap((dir) => folders(dir))
    .flatMap((path) => /sbx_\w+$/.exec(path)?.[0] ?? []);
}

/** Sandboxes and attempts. */
function folders(stateDir: string): string[] {
  return ["process", "docker", "qemu", "runs"].flatMap((kind) =>
    namesIn(join(stateDir, kind))
      .filter((name) => /^(sbx|job|warm)_/.test(name))
      .map((name) => join(stateDir, kind, name)),
  );
}

function mounts(folder: string, ids: ReadonlySet<string>): string[] {
  return textOf("/proc/self/mounts")
    .split("\n")
    .flatMap((line) => line.split(" ")[1] ?? [])
    .filter((path) => path.startsWith(folder) || ids.has(/sbx_\w+/.exec(path)?.[0] ?? ""));
}

/** Images of the run's folder that a loop device still holds, removed ones among them. */
function loops(folder: string): string[] {
  return globSync("/sys/block/loop*/loop/backing_file").flatMap((path) => {
    const image = textOf(path).trim();
    return image.startsWith(folder) ? [`${path.split("/")[3]} ${image}`] : [];
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
