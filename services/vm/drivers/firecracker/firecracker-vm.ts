/**
 * Owns one Firecracker from its jail to a guest that was told to start, and its end. What is
 * said to the guest's resident is left to `firecracker-driver.ts`.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { open, rm } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { DevmeshError } from "@devmesh/mesh/errors";
import { sandboxFailed } from "../driver-errors.ts";
import { type ApiRequest, FirecrackerApi } from "./api-client.ts";
import { type JailOptions, jailerArguments, jailRoot } from "./jail.ts";

/** A disk in the jail. */
export interface JailDisk {
  /** Letters, digits and underscores. */
  readonly id: string;
  /** Its file in the jail. */
  readonly name: string;
  readonly isReadOnly: boolean;
}

/** What a machine shall be. */
export interface MachineOptions {
  readonly jail: JailOptions;
  readonly cpus: number;
  readonly memoryMib: number;
  /** In the order in which the guest numbers them. */
  readonly disks: readonly JailDisk[];
  /** Kernel and initramfs in the jail. */
  readonly kernel: string;
  readonly initramfs: string;
}

/** A Firecracker whose guest runs. */
export interface Machine {
  readonly pid: number;
  readonly api: FirecrackerApi;
  /** The Unix socket that leads to the guest's ports. */
  readonly vsockPath: string;
  /** Resolves with Firecracker's last words when it has ended. */
  readonly ended: Promise<string>;
  /** Ends it, and takes its jail away. */
  remove(): Promise<void>;
}

/** The guest's address; every guest has a socket of its own, so all have the same. */
const guestCid = 3;
const socketPollMs = 2;
const wordsBytes = 8_192;
/**
 * What a booted kernel is told. Firecracker adds where its devices are.
 * The order of the disks is theirs; `devmesh.disks` names them in it.
 */
const kernelLine = "console=ttyS0 reboot=k panic=1 pci=off quiet random.trust_cpu=on";

/** The requests that make a machine, in the order in which they must be sent. */
function startRequests(options: MachineOptions): ApiRequest[] {
  const { cpus, memoryMib, disks, kernel, initramfs } = options;
  const names = disks.map(({ id }) => id).join(",");
  const machine = { vcpu_count: cpus, mem_size_mib: memoryMib, smt: false };
  const boot = {
    kernel_image_path: kernel,
    initrd_path: initramfs,
    boot_args: `${kernelLine} devmesh.disks=${names}`,
  };
  return [
    { method: "PUT", path: "/machine-config", body: machine },
    { method: "PUT", path: "/boot-source", body: boot },
    ...disks.map(
      ({ id, name, isReadOnly }): ApiRequest => ({
        method: "PUT",
        path: `/drives/${id}`,
        body: {
          drive_id: id,
          path_on_host: name,
          is_root_device: false,
          is_read_only: isReadOnly,
        },
      }),
    ),
    { method: "PUT", path: "/vsock", body: { guest_cid: guestCid, uds_path: "vsock.sock" } },
    { method: "PUT", path: "/actions", body: { action_type: "InstanceStart" } },
  ];
}

/**
 * Starts a machine in a jail whose files are there. Throws SANDBOX_FAILED or CANCELLED; the
 * jail is gone then.
 */
export async function startMachine(options: MachineOptions, signal: AbortSignal): Promise<Machine> {
  const { jail } = options;
  const root = jailRoot(jail);
  // A socket's path has hardly more than a hundred bytes: it begins at the jail, not above it.
  const place = await open(root).catch((error: unknown) => {
    throw sandboxFailed("firecracker", "the jail is not there", error);
  });
  const at = (name: string) => `/proc/self/fd/${place.fd}/${name}`;
  // An empty network namespace: nothing but an unused loopback is in it.
  const args = ["--net", "--", jail.jailer, ...jailerArguments(jail)];
  const child = spawn("unshare", args, {
    cwd: "/",
    env: { PATH: process.env.PATH, LC_ALL: "C" },
    detached: true,
    stdio: ["ignore", "pipe", "pipe"],
  });
  const ended = lastWords(child);
  const remove = async () => {
    endGroup(child);
    await ended;
    await place.close().catch(() => {});
    await rm(join(root, ".."), { recursive: true, force: true });
  };
  try {
    await once(child, "spawn");
    const socketPath = at("api.sock");
    await appears(socketPath, ended, signal);
    const api = new FirecrackerApi({ socketPath });
    for (const request of startRequests(options)) await api.send(request, signal);
    return { pid: child.pid ?? 0, api, vsockPath: at("vsock.sock"), ended, remove };
  } catch (error: unknown) {
    await remove();
    if (signal.aborted) {
      throw new DevmeshError("CANCELLED", "the start was cancelled", { cause: error });
    }
    if (error instanceof DevmeshError) throw error;
    throw sandboxFailed("firecracker", "Firecracker cannot be started", error);
  }
}

/** Stops a machine's guest where it stands, or lets it go on. Throws SANDBOX_FAILED. */
export async function setPaused(api: FirecrackerApi, isPaused: boolean): Promise<void> {
  const state = isPaused ? "Paused" : "Resumed";
  await api.send({ method: "PATCH", path: "/vm", body: { state } });
}

async function appears(path: string, ended: Promise<string>, signal: AbortSignal): Promise<void> {
  let words: string | undefined;
  ended.then((last) => {
    words = last;
  });
  for (;;) {
    signal.throwIfAborted();
    if (words !== undefined) {
      const cause = new Error(words);
      throw sandboxFailed("firecracker", "Firecracker ended before it listened", cause);
    }
    if (await listens(path)) return;
    await delay(socketPollMs, undefined, { signal });
  }
}

/** The socket is there a moment before somebody listens at it. */
function listens(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ path });
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}

/** The jailer may have become Firecracker's parent: both are in the group. */
function endGroup({ pid }: ChildProcess): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, "SIGKILL");
  } catch (error: unknown) {
    // It has ended by itself.
    if (!(error instanceof Error && "code" in error && error.code === "ESRCH")) throw error;
  }
}

function lastWords(child: ChildProcess): Promise<string> {
  let kept: Buffer = Buffer.alloc(0);
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on("data", (bytes: Buffer) => {
      kept = Buffer.concat([kept, bytes]).subarray(-wordsBytes);
    });
  }
  return new Promise((resolve) => {
    const done = () => resolve(kept.toString("utf8").trim());
    child.once("exit", done);
    child.once("error", (error) => resolve(error.message));
  });
}
