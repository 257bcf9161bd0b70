import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ensureGuest } from "../../deploy/guest/ensure-guest.ts";
import { ensureBaseImage, startDocker } from "../../scripts/parts/docker.ts";
import { DockerDriver } from "../../services/vm/drivers/docker/docker-driver.ts";
import { fakePrograms, sandboxDriverSuite } from "../../services/vm/drivers/driver.suite.ts";
import { FakeDriver } from "../../services/vm/drivers/fake.ts";
import { ProcessDriver } from "../../services/vm/drivers/process/process-driver.ts";
import { QemuDriver } from "../../services/vm/drivers/qemu/qemu-driver.ts";

const drivers = new URL("../../services/vm/drivers/", import.meta.url);

sandboxDriverSuite(
  "fake",
  async () => ({ driver: new FakeDriver({ programs: fakePrograms }), cleanup: async () => {} }),
  {
    isolation: "its programs are functions of this process",
    network: "its programs are functions of this process",
    mounts: "it runs no files of the host",
    hardening: "its programs are functions of this process",
    hostProcess: "its programs are functions of this process",
    reap: "it lives in memory and ends with its process",
  },
);

sandboxDriverSuite("process", async () => {
  const stateDir = await mkdtemp(join(tmpdir(), "devmesh-process-"));
  const driver = new ProcessDriver({ stateDir });
  const { available, reason, remedy } = await driver.probe();
  if (!available) return { skip: `${reason}; ${remedy}` };
  return {
    driver,
    childSource: `import { ProcessDriver } from ${JSON.stringify(new URL("process/process-driver.ts", drivers))};
      const driver = new ProcessDriver({ stateDir: ${JSON.stringify(stateDir)} });`,
    cleanup: () => rm(stateDir, { recursive: true, force: true }),
  };
});

/** What an engine with that runtime needs; `skip` where there is no such engine. */
async function containers(runtime?: string) {
  const engine = await startDocker();
  if (!engine.ok) return { skip: `${engine.reason}; ${engine.remedy}` };
  const { socketPath, stop } = engine.value;
  const base = await ensureBaseImage(socketPath);
  if (!base.ok) return { skip: `${base.reason}; ${base.remedy}` };
  const stateDir = await mkdtemp(join(tmpdir(), "devmesh-docker-"));
  // One ahead for each shape: the first start of a shape is a new container, the next is not.
  const options = {
    stateDir,
    socketPath,
    image: base.value.image,
    warm: 1,
    ...(runtime && { runtime }),
  };
  const driver = new DockerDriver(options);
  const cleanup = async () => {
    await rm(stateDir, { recursive: true, force: true });
    await stop();
  };
  const { available, reason, remedy } = await driver.probe();
  if (!available) {
    await cleanup();
    if (runtime === undefined) throw new Error(`${reason}; ${remedy}`);
    return { skip: `${reason}; ${remedy}` };
  }
  return {
    driver,
    childSource: `import { DockerDriver } from ${JSON.stringify(new URL("docker/docker-driver.ts", drivers))};
      const driver = new DockerDriver(${JSON.stringify(options)});`,
    cleanup,
  };
}

sandboxDriverSuite("docker", () => containers(), {}, 180_000);

sandboxDriverSuite(
  "gvisor",
  () => containers("runsc"),
  {
    hostProcess: "its programs are no processes of the host",
    ownProc: "its kernel does not show what holds that kernel itself",
    caps: "a cap that is met ends the sandbox's own kernel, and with it the sandbox",
  },
  300_000,
);

sandboxDriverSuite(
  "qemu",
  async () => {
    const guest = await ensureGuest();
    if (!guest.ok) return { skip: `${guest.reason}; ${guest.remedy}` };
    const stateDir = await mkdtemp(join(tmpdir(), "devmesh-qemu-"));
    // As with containers: some tests get a guest that was kept ready, the others a new one.
    const options = { stateDir, ...guest.value, warm: 1 };
    return {
      driver: new QemuDriver(options),
      childSource: `import { QemuDriver } from ${JSON.stringify(new URL("qemu/qemu-driver.ts", drivers))};
      const driver = new QemuDriver(${JSON.stringify(options)});`,
      cleanup: () => rm(stateDir, { recursive: true, force: true }),
    };
  },
  { hostProcess: "a guest's program is no process of the host" },
  300_000,
);
