/** Owns what a sandbox's container may and may not: the one place to review. */
import type { ContainerCreateOptions, MountSettings } from "dockerode";
import type { ReadOnlyMount, SandboxLimits } from "../driver.ts";
import { sandboxVariables } from "../driver-errors.ts";
import type { WorkDisk } from "../work-disk.ts";

/** Labels of everything that a driver makes in an engine. */
export const labels = {
  /** The sandbox's id. */
  sandbox: "devmesh.sandbox",
  job: "devmesh.job",
  /** The process that made it, as `formatOwner` writes it. */
  owner: "devmesh.owner",
  /** The state folder of that process, as a hash. */
  state: "devmesh.state",
} as const;

/** What a container is, whichever sandbox it becomes. */
export interface ContainerShape {
  /** By its id, so that a tag that moves changes nothing. */
  readonly imageId: string;
  readonly limits: SandboxLimits;
  /** With paths as the engine finds them. */
  readonly mounts: readonly ReadOnlyMount[];
}

/** What decides a container beside its shape. */
export interface ContainerContext {
  /** The sandbox's id, or one of its own until it becomes a sandbox. */
  readonly id: string;
  /** Empty until it becomes a job's. */
  readonly jobId: string;
  /** The program of the first process. */
  readonly resident: string;
  /** The host's Unix socket that the resident connects to; absent: it speaks by its stdin and stdout. */
  readonly socketPath: string | undefined;
  /** Numeric `uid:gid`. Never root. */
  readonly user: string;
  /** The engine's runtime, for example `runsc`; absent: its default. */
  readonly runtime: string | undefined;
  /** Absent: the work dir is a tmpfs, and counts as memory. */
  readonly disk: WorkDisk | undefined;
  readonly owner: string;
  readonly state: string;
}

const mib = 1024 * 1024;

/** Where a container finds the socket of its resident. */
const channelPath = "/run/resident.sock";

/** The engine counts CPU by periods of this length, in µs. */
const cpuPeriodUs = 100_000;

/** Makes the engine's request for a container. */
export function containerOptions(
  shape: ContainerShape,
  context: ContainerContext,
): ContainerCreateOptions {
  const { limits } = shape;
  const { disk, socketPath } = context;
  const isAttached = socketPath === undefined;
  const channel = isAttached ? ["0", "1"] : [channelPath];
  const [uid, gid] = context.user.split(":");
  if (uid === undefined || gid === undefined || !/^[1-9]\d*:[1-9]\d*$/.test(context.user)) {
    throw new Error(`${context.user}: the sandbox's user must be uid:gid, and neither may be 0`);
  }
  const tmpfs = `rw,nosuid,nodev,exec,size=${limits.diskMib}m,uid=${uid},gid=${gid}`;
  const { HOME, TMPDIR, LANG } = sandboxVariables;
  return {
    name: containerName(context.id),
    Image: shape.imageId,
    Entrypoint: ["/usr/bin/perl", "-w", "-e", context.resident, "--", "cage", ...channel],
    Cmd: [],
    User: context.user,
    WorkingDir: "/work",
    Hostname: "devmesh",
    Env: [`HOME=${HOME}`, `TMPDIR=${TMPDIR}`, `LANG=${LANG}`],
    Labels: {
      [labels.sandbox]: context.id,
      [labels.job]: context.jobId,
      [labels.owner]: context.owner,
      [labels.state]: context.state,
    },
    AttachStdin: isAttached,
    AttachStdout: isAttached,
    AttachStderr: isAttached,
    OpenStdin: isAttached,
    // The resident's input ends with our connection, however that ends, and it with that.
    StdinOnce: isAttached,
    Tty: false,
    NetworkDisabled: true,
    HostConfig: {
      // The resident is process 1: nothing in the container can end it, and it reaps.
      Init: false,
      NetworkMode: "none",
      ReadonlyRootfs: true,
      CapDrop: ["ALL"],
      SecurityOpt: ["no-new-privileges"],
      Privileged: false,
      IpcMode: "private",
      PidsLimit: limits.pids,
      Memory: limits.memoryMib * mib,
      MemorySwap: limits.memoryMib * mib,
      CpuPeriod: cpuPeriodUs,
      CpuQuota: (limits.cpuMillis * cpuPeriodUs) / 1000,
      ShmSize: Math.max(1, Math.min(64, Math.floor(limits.memoryMib / 4))) * mib,
      Ulimits: [{ Name: "core", Soft: 0, Hard: 0 }],
      LogConfig: { Type: "none", Config: {} },
      RestartPolicy: { Name: "no" },
      Tmpfs: {
        ...(!disk && { "/work": `${tmpfs},mode=0755`, "/tmp": `${tmpfs},mode=0755` }),
        // Where the resident puts its doors.
        "/run/devmesh": `rw,nosuid,nodev,noexec,size=64k,uid=${uid},gid=${gid},mode=0555`,
      },
      Mounts: mountsOf(shape, context),
      ...(context.runtime !== undefined && { Runtime: context.runtime }),
    },
  };
}

/** The name of the container with that id. */
export function containerName(id: string): string {
  return `devmesh-${id}`;
}

function mountsOf(shape: ContainerShape, { disk, socketPath }: ContainerContext): MountSettings[] {
  const bind = (Source: string, Target: string, ReadOnly: boolean): MountSettings => ({
    Type: "bind",
    Source,
    Target,
    ReadOnly,
    BindOptions: { Propagation: "rprivate" },
  });
  return [
    ...(disk ? [bind(disk.work, "/work", false), bind(disk.tmp, "/tmp", false)] : []),
    // Reading is enough: connecting asks for the right to write of the socket, not of its mount.
    ...(socketPath === undefined ? [] : [bind(socketPath, channelPath, true)]),
    ...shape.mounts.map(({ hostPath, sandboxPath }) => bind(hostPath, sandboxPath, true)),
  ];
}
