/** Owns what a sandbox's container may and may not: the one place to review. */
import type { ContainerCreateOptions, MountSettings } from "dockerode";
import type { SandboxSpec } from "../driver.ts";
import { doorPath, sandboxVariables } from "../driver-errors.ts";
import type { WorkDisk } from "../work-disk.ts";
import { supervisorCommand } from "./supervisor.ts";

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

/** What decides a container beside its spec. */
export interface ContainerContext {
  readonly image: string;
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

/** Makes the engine's request for a sandbox's container. */
export function containerOptions(
  spec: SandboxSpec,
  context: ContainerContext,
): ContainerCreateOptions {
  const { limits } = spec;
  const { disk } = context;
  const [uid, gid] = context.user.split(":");
  if (uid === undefined || gid === undefined || !/^[1-9]\d*:[1-9]\d*$/.test(context.user)) {
    throw new Error(`${context.user}: the sandbox's user must be uid:gid, and neither may be 0`);
  }
  const tmpfs = `rw,nosuid,nodev,exec,size=${limits.diskMib}m,uid=${uid},gid=${gid}`;
  const { HOME, TMPDIR, LANG } = sandboxVariables;
  return {
    name: `devmesh-${spec.id}`,
    Image: context.image,
    Entrypoint: [...supervisorCommand],
    Cmd: [],
    User: context.user,
    WorkingDir: "/work",
    Hostname: "devmesh",
    Env: [`HOME=${HOME}`, `TMPDIR=${TMPDIR}`, `LANG=${LANG}`],
    Labels: {
      [labels.sandbox]: spec.id,
      [labels.job]: spec.jobId,
      [labels.owner]: context.owner,
      [labels.state]: context.state,
    },
    AttachStdin: true,
    AttachStdout: true,
    AttachStderr: false,
    OpenStdin: true,
    // The supervisor's input ends with our connection, however that ends.
    StdinOnce: true,
    Tty: false,
    NetworkDisabled: true,
    HostConfig: {
      // Reaps what programs leave behind.
      Init: true,
      NetworkMode: "none",
      ReadonlyRootfs: true,
      CapDrop: ["ALL"],
      SecurityOpt: ["no-new-privileges"],
      Privileged: false,
      IpcMode: "private",
      PidsLimit: limits.pids,
      Memory: limits.memoryMib * mib,
      MemorySwap: limits.memoryMib * mib,
      NanoCpus: limits.cpuMillis * 1_000_000,
      Ulimits: [{ Name: "core", Soft: 0, Hard: 0 }],
      LogConfig: { Type: "none", Config: {} },
      RestartPolicy: { Name: "no" },
      Tmpfs: disk ? {} : { "/work": `${tmpfs},mode=0755`, "/tmp": `${tmpfs},mode=0755` },
      Mounts: mountsOf(spec, disk),
      ...(context.runtime !== undefined && { Runtime: context.runtime }),
    },
  };
}

function mountsOf(spec: SandboxSpec, disk: WorkDisk | undefined): MountSettings[] {
  const bind = (Source: string, Target: string, ReadOnly: boolean): MountSettings => ({
    Type: "bind",
    Source,
    Target,
    ReadOnly,
    BindOptions: { Propagation: "rprivate" },
  });
  return [
    ...(disk ? [bind(disk.work, "/work", false), bind(disk.tmp, "/tmp", false)] : []),
    ...spec.mounts.map(({ hostPath, sandboxPath }) => bind(hostPath, sandboxPath, true)),
    // Reading is enough: connecting asks for the right to write of the socket, not of its mount.
    ...spec.doors.map(({ name, socketPath }) => bind(socketPath, doorPath(name), true)),
  ];
}
