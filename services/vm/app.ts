/** The sandbox host's composition root: plain `new`, in order. */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import type { Transport } from "@connectrpc/connect";
import { HostService } from "@devmesh/gen/devmesh/vm/v1/host_service_pb";
import { SandboxService } from "@devmesh/gen/devmesh/vm/v1/sandbox_service_pb";
import type { Logger } from "@devmesh/mesh/log";
import { type Clock, holdFolder, type Ids } from "@devmesh/mesh/runtime";
import { type App, serve } from "@devmesh/mesh/server";
import type { DriverName, VmConfig } from "./config.ts";
import { DockerDriver } from "./drivers/docker/docker-driver.ts";
import { engineFinder } from "./drivers/docker/engine-finder.ts";
import type { SandboxDriver } from "./drivers/driver.ts";
import { FirecrackerDriver } from "./drivers/firecracker/firecracker-driver.ts";
import { ProcessDriver } from "./drivers/process/process-driver.ts";
import { snapshotDraftFinder } from "./drivers/qemu/draft-finder.ts";
import { QemuDriver } from "./drivers/qemu/qemu-driver.ts";
import { backendOf } from "./runner/backend.ts";
import { Runner, type RunnerOptions } from "./runner/runner.ts";
import { doorFinder, draftFinder, folderFinder } from "./sandboxes/finders/file-finders.ts";
import {
  groupFinder,
  loopFinder,
  mountFinder,
  processFinder,
} from "./sandboxes/finders/host-finders.ts";
import { Host } from "./sandboxes/host.ts";
import { HostServiceImpl } from "./sandboxes/host-service.ts";
import { Journal } from "./sandboxes/journal.ts";
import { JournalledDriver } from "./sandboxes/journalled-driver.ts";
import type { LeftoverFinder } from "./sandboxes/leftover.ts";
import { Reconciler } from "./sandboxes/reconciler.ts";
import { SandboxServiceImpl } from "./sandboxes/sandbox-service.ts";

/** What the sandbox host is built from. */
export interface VmOptions {
  readonly config: VmConfig;
  readonly logger: Logger;
  readonly clock: Clock;
  readonly ids: Ids;
  readonly version: string;
  /** The way to the backend. */
  readonly api: Transport;
  /** The way for heartbeats, which nothing else may hold up. Default: `api`. */
  readonly heartbeats?: Transport;
  /** As of the runner. */
  readonly onRegistered?: RunnerOptions["onRegistered"];
  /** As of the runner. */
  readonly onRefused?: RunnerOptions["onRefused"];
}

/**
 * Builds the sandbox host and starts its runner. Throws UNAVAILABLE where another process has
 * its state folder.
 */
export async function buildVm(options: VmOptions): Promise<App> {
  const { config, logger, clock, ids, version, api } = options;
  await using undo = new AsyncDisposableStack();
  const held = holdFolder(config.stateDir, "vm", "stop it, or choose another folder");
  undo.defer(() => held.release());
  const journal = await Journal.begin(join(config.stateDir, "journal"));
  undo.defer(() => journal.close());
  const drivers = config.drivers.map(
    (name) => new JournalledDriver(makeDriver(name, config), journal, logger),
  );
  const host = new Host({ drivers, logger });
  undo.defer(() => host.close());
  const reconciler = new Reconciler({
    ...{ host, journal, clock, logger },
    finders: makeFinders(config),
    stateDir: config.stateDir,
    intervalMs: config.reconcileIntervalMs,
  });
  undo.defer(() => reconciler.close());
  await reconciler.sweep();
  // Files of attempts that an earlier process did not end.
  await rm(join(config.stateDir, "runs"), { recursive: true, force: true });
  const runner = new Runner({
    backend: backendOf(api, options.heartbeats),
    host,
    clock,
    ids,
    logger,
    version,
    capacity: config.capacity,
    labels: config.labels,
    ...(options.onRegistered && { onRegistered: options.onRegistered }),
    ...(options.onRefused && { onRefused: options.onRefused }),
    stateDir: config.stateDir,
    backendUrl: config.apiUrl,
    nodePath: process.execPath,
    agentPath: config.agentPath,
    harnessDir: config.harnessDir,
    graceMs: config.stopGraceMs,
    egress: config.egress,
    monotonicMs: () => performance.now(),
  });
  undo.defer(() => runner.close());
  runner.start();
  reconciler.start();
  host.start(clock, config.reconcileIntervalMs);
  const running = undo.move();
  return {
    services: [
      serve(SandboxService, new SandboxServiceImpl({ host })),
      serve(HostService, new HostServiceImpl({ host, reconciler })),
    ],
    readiness: [{ name: "drivers", check: () => checkDrivers(host) }],
    close: () => running.disposeAsync(),
  };
}

/** Makes one driver as the configuration says; nothing is started. */
export function makeDriver(name: DriverName, config: VmConfig): SandboxDriver {
  const stateDir = config.stateDir;
  switch (name) {
    case "process":
      return new ProcessDriver({
        stateDir,
        readyDisks: config.warmSandboxes,
        acceptUnboundedCpu: config.processUnboundedCpu,
      });
    case "docker":
    case "gvisor":
      return new DockerDriver({
        stateDir,
        socketPath: config.dockerSocket,
        image: config.dockerImage,
        warm: config.warmSandboxes,
        ...(name === "gvisor" && { runtime: "runsc" }),
      });
    case "qemu":
      return new QemuDriver({
        stateDir,
        guestDir: config.guestDir,
        binary: config.qemuBinary,
        warm: config.warmSandboxes,
      });
    case "firecracker":
      return new FirecrackerDriver({
        stateDir,
        guestDir: config.guestDir,
        binary: config.firecrackerBinary,
        jailer: config.jailerBinary,
      });
  }
}

/** Programs before what they use: a mount that nobody is in goes, and with it its loop device. */
function makeFinders({ drivers, dockerSocket: socketPath }: VmConfig): LeftoverFinder[] {
  const engines = (["docker", "gvisor"] as const)
    .filter((driver) => drivers.includes(driver))
    .map((driver) => engineFinder({ socketPath, driver }));
  const kernel = [processFinder, groupFinder(), mountFinder, loopFinder];
  return [...engines, ...kernel, folderFinder, draftFinder, snapshotDraftFinder, doorFinder];
}

async function checkDrivers(host: Host): Promise<string> {
  const available = (await host.probe()).filter((probe) => probe.available);
  if (available.length === 0) throw new Error("no sandbox driver works on this host");
  return available.map((probe) => `${probe.driver} (${probe.engine})`).join(", ");
}
