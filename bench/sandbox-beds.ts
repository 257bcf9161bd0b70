/** Drivers with the real parts behind them, each in a state folder of its own. */
import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { ensureGuest } from "../deploy/guest/ensure-guest.ts";
import { ensureBaseImage, startDocker } from "../scripts/parts/docker.ts";
import type { Found } from "../scripts/parts/part.ts";
import { ensureQemu, type Qemu } from "../scripts/parts/qemu.ts";
import { DockerDriver } from "../services/vm/drivers/docker/docker-driver.ts";
import type { SandboxDriver } from "../services/vm/drivers/driver.ts";
import { ProcessDriver } from "../services/vm/drivers/process/process-driver.ts";
import { QemuDriver } from "../services/vm/drivers/qemu/qemu-driver.ts";
import type { System } from "./bench.ts";
import { bareCommand } from "./sandbox-systems.ts";

const run = promisify(execFile);

/** A driver that works, and what ends it. */
export interface Bed {
  readonly driver: SandboxDriver;
  /** The engine as its probe names it. */
  readonly engine: string;
  close(): Promise<void>;
}

/** Namespaces of this host, two disks ready made. */
export function openProcess(): Promise<Bed> {
  return open((stateDir) => new ProcessDriver({ stateDir, readyDisks: 2 }));
}

/** Containers, `warm` of them ready made. */
export async function openDocker(warm: number): Promise<Bed> {
  const { socketPath, image, stop } = await dockerParts();
  return open((stateDir) => new DockerDriver({ stateDir, socketPath, image, warm }), stop);
}

/** Virtual machines, `warm` of them ready made. */
export async function openQemu(warm: number): Promise<Bed> {
  const guest = value(await ensureGuest());
  return open((stateDir) => new QemuDriver({ stateDir, ...guest, warm }));
}

/** QEMU and a kernel. */
export async function qemuParts(): Promise<Qemu> {
  return value(await ensureQemu());
}

/** The engine's own command line: a container for each program, or one for all. */
export async function bareContainer(
  name: "bare docker run" | "bare docker exec",
  count: number,
): Promise<System> {
  const { socketPath, image, stop } = await dockerParts();
  const docker = ["docker", "--host", `unix://${socketPath}`];
  const start = ["run", "--rm", "--network", "none"];
  if (name === "bare docker run") {
    const system = bareCommand(name, [...docker, ...start, image, "echo", "here"], count);
    return { ...system, close: stop };
  }
  const [file = "", ...args] = [...docker, ...start, "--detach", image, "sleep", "infinity"];
  const id = (await run(file, args)).stdout.trim();
  return {
    ...bareCommand(name, [...docker, "exec", id, "echo", "here"], count),
    async close() {
      await run(file, [...docker.slice(1), "rm", "--force", id]);
      await stop();
    },
  };
}

async function open(
  make: (stateDir: string) => SandboxDriver,
  stop: () => Promise<void> = async () => {},
): Promise<Bed> {
  const stateDir = await mkdtemp(join(tmpdir(), "devmesh-bench-"));
  const driver = make(stateDir);
  const { available, engine, reason, remedy } = await driver.probe();
  if (!available) throw new Error(`${driver.name}: ${reason} (${remedy})`);
  return {
    driver,
    engine,
    async close() {
      await Promise.all(driver.list().map((sandbox) => sandbox.delete()));
      await driver.close?.();
      await rm(stateDir, { recursive: true, force: true });
      await stop();
    },
  };
}

async function dockerParts() {
  const { socketPath, stop } = value(await startDocker());
  const { image } = value(await ensureBaseImage(socketPath));
  return { socketPath, image, stop };
}

function value<T>(found: Found<T>): T {
  if (!found.ok) throw new Error(`${found.reason} (${found.remedy})`);
  return found.value;
}
