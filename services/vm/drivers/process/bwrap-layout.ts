/** What a sandbox of bubblewrap sees: bubblewrap's arguments for its world. */
import type { SandboxLimits } from "../driver.ts";
import type { WorkDisk } from "../work-disk.ts";
import { innerUser } from "./host.ts";

/** One sandbox's world. */
export interface BwrapLayout {
  readonly limits: SandboxLimits;
  /** Arguments for the read-only system folders and `/etc`. */
  readonly system: readonly string[];
  readonly disk: WorkDisk;
  /** Folders and files of the host by their path in the sandbox; read-only. */
  readonly binds: ReadonlyMap<string, string>;
}

/** The sockets of doors, and nothing that takes room, lie in `/run/devmesh`. */
const doorBytes = 65_536;

/** The arguments, up to the program. */
export function layoutArguments({ limits, system, disk, binds }: BwrapLayout): string[] {
  // Shared memory is memory: the cap on that holds for it as well.
  const shmBytes = (limits.memoryMib * 1024 * 1024) / 2;
  const mounts = [...binds].flatMap(([inside, outside]) => ["--ro-bind", outside, inside]);
  return [
    ...["--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts"],
    ...["--unshare-cgroup", "--uid", `${innerUser}`, "--gid", `${innerUser}`],
    ...["--hostname", "devmesh", "--die-with-parent", "--new-session", "--clearenv"],
    ...["--cap-drop", "ALL", "--as-pid-1"],
    ...system,
    ...["--proc", "/proc", "--dev", "/dev", "--size", `${shmBytes}`, "--tmpfs", "/dev/shm"],
    ...["--remount-ro", "/dev"],
    ...["--bind", disk.work, "/work", "--bind", disk.tmp, "/tmp"],
    ...["--dir", "/run", "--size", `${doorBytes}`, "--tmpfs", "/run/devmesh"],
    ...mounts,
    ...["--remount-ro", "/", "--chdir", "/"],
  ];
}
