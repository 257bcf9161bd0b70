/** An engine that is stopped while its sandboxes run, and one that comes back. */
import { mkdir, mkdtemp, readdir, readFile, realpath, rm } from "node:fs/promises";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Isolation } from "@devmesh/gen/devmesh/api/v1/isolation_pb";
import { JobStatus } from "@devmesh/gen/devmesh/api/v1/job_status_pb";
import { DevmeshError } from "@devmesh/mesh/errors";
import { silentLogger } from "@devmesh/mesh/log";
import { SystemClock } from "@devmesh/mesh/runtime";
import { expect } from "chai";
import { ensureBaseImage } from "../../scripts/parts/base-image.ts";
import type { Child } from "../../scripts/parts/child.ts";
import { findBinary } from "../../scripts/parts/debian.ts";
import { type EnginePlace, removeRuntime, startEngine } from "../../scripts/parts/docker-engine.ts";
import { askEngine } from "../../scripts/parts/docker-http.ts";
import { DockerDriver } from "../../services/vm/drivers/docker/docker-driver.ts";
import { engineFinder } from "../../services/vm/drivers/docker/engine-finder.ts";
import { shell, suiteSpec } from "../../services/vm/drivers/suite/harness.ts";
import { folderFinder } from "../../services/vm/sandboxes/finders/file-finders.ts";
import { mountFinder } from "../../services/vm/sandboxes/finders/host-finders.ts";
import { Host } from "../../services/vm/sandboxes/host.ts";
import { Journal } from "../../services/vm/sandboxes/journal.ts";
import { JournalledDriver } from "../../services/vm/sandboxes/journalled-driver.ts";
import { Reconciler } from "../../services/vm/sandboxes/reconciler.ts";
import { Bed } from "./bed.ts";

const small = { memoryMib: 64, cpuMillis: 1000, pids: 32, diskMib: 16 };

async function reasonOf(call: Promise<unknown>): Promise<string> {
  try {
    await call;
    return "none";
  } catch (error: unknown) {
    return error instanceof DevmeshError ? error.reason : String(error);
  }
}

/** An engine's socket that is gone as soon as the engine was told to make a container. */
async function goneAtCreate(path: string, engine: string) {
  const open = new Set<Socket>();
  let isAway = false;
  const leave = () => {
    isAway = true;
    for (const socket of open) socket.destroy();
  };
  const server = createServer((client) => {
    if (isAway) return client.destroy();
    const real = connect(engine);
    for (const [one, other] of [
      [client, real],
      [real, client],
    ] as const) {
      open.add(one);
      one.on("error", () => {});
      one.on("close", () => other.destroy());
    }
    real.pipe(client);
    client.on("data", (chunk: Buffer) => {
      const isCreate = chunk.includes("/containers/create");
      real.write(chunk, () => isCreate && leave());
    });
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  return {
    comeBack: () => {
      isAway = false;
    },
    close: () => server.close(),
  };
}

describe("a container engine that is stopped", function () {
  this.timeout(300_000);
  let place: EnginePlace | undefined;
  let engine: Child | undefined;
  let folder: string;

  before(async function () {
    if (process.getuid?.() !== 0 || findBinary("dockerd") === undefined) {
      if (this.test?.parent) this.test.parent.title += " (skipped: only root may start an engine)";
      return this.skip();
    }
    folder = await mkdtemp(join(tmpdir(), "devmesh-away-"));
    const runDir = join(folder, "run");
    await mkdir(runDir);
    const name = `dma${process.pid}`;
    place = {
      home: join(folder, "home"),
      runDir,
      socketPath: join(runDir, "docker.sock"),
      bridge: name,
      bridgeAddress: "10.214.77.1/24",
    };
    await mkdir(place.home);
    engine = await startEngine(place);
  });

  after(async () => {
    await engine?.stop();
    if (place) await removeRuntime(place);
    if (folder) await rm(folder, { recursive: true, force: true });
  });

  it("fails its sandboxes with a typed error, and nothing is left when it is back", async () => {
    if (!place) throw new Error("there is no engine");
    const { socketPath } = place;
    const base = await ensureBaseImage(socketPath);
    if (!base.ok) throw new Error(base.reason);
    const stateDir = join(folder, "state");
    const driver = new DockerDriver({ stateDir, socketPath, image: base.value.image, warm: 1 });
    const one = await driver.create(suiteSpec({ limits: small }));
    const two = await driver.create(suiteSpec({ limits: small }));
    await driver.settled();
    await two.freeze();
    const running = await one.exec({ argv: ["sleep", "600"], env: {} });
    await engine?.stop();
    engine = undefined;
    expect(await reasonOf(running.exit)).to.equal("SANDBOX_FAILED");
    expect(await reasonOf(one.exec({ argv: ["true"], env: {} }))).to.equal("SANDBOX_FAILED");
    expect(await reasonOf(one.freeze())).to.equal("SANDBOX_FAILED");
    expect(await reasonOf(driver.create(suiteSpec({ limits: small })))).to.equal("SANDBOX_FAILED");
    expect((await driver.probe()).available).to.equal(false);
    // What cannot be removed stays in the list, and can be tried again.
    expect(await reasonOf(one.delete())).to.equal("SANDBOX_FAILED");
    expect(driver.list().map(({ id }) => id)).to.deep.equal([one.id, two.id]);
    await driver.settled();

    engine = await startEngine(place);
    const three = await driver.create(suiteSpec({ limits: small }));
    expect((await shell(three, "echo back")).text).to.equal("back\n");
    for (const sandbox of [one, two, three]) await sandbox.delete();
    await driver.reap();
    await driver.close();
    expect(driver.list()).to.deep.equal([]);
    const { body } = await askEngine(socketPath, "GET", "/containers/json?all=true");
    expect(JSON.parse(body)).to.deep.equal([]);
    expect(await driver.reap()).to.deep.equal([]);
  });

  it("leaves nothing of a probe during which it is gone, once it is back", async () => {
    if (!place) throw new Error("there is no engine");
    engine ??= await startEngine(place);
    const base = await ensureBaseImage(place.socketPath);
    if (!base.ok) throw new Error(base.reason);
    const stateDir = await realpath(await mkdtemp(join(folder, "probe-")));
    const socketPath = join(folder, "gone.sock");
    const door = await goneAtCreate(socketPath, place.socketPath);
    const driver = new DockerDriver({ stateDir, socketPath, image: base.value.image });
    try {
      expect((await driver.probe()).available).to.equal(false);
      const kept = (await readdir(join(stateDir, "docker"))).join(" ");
      expect(kept, "what the engine kept it from removing").to.match(/sbx_image\w+/);

      door.comeBack();
      await driver.reap();
      expect(await readdir(join(stateDir, "docker"))).to.deep.equal(["templates"]);
      expect(await readFile("/proc/self/mounts", "utf8")).to.not.include(stateDir);
      const { body } = await askEngine(place.socketPath, "GET", "/containers/json?all=true");
      expect(JSON.parse(body)).to.deep.equal([]);
    } finally {
      await driver.close();
      door.close();
    }
  });

  it("fails a job in the middle with the right reason, and all of it goes when it is back", async () => {
    if (!place) throw new Error("there is no engine");
    engine ??= await startEngine(place);
    const { socketPath } = place;
    const base = await ensureBaseImage(socketPath);
    if (!base.ok) throw new Error(base.reason);
    const stateDir = await realpath(await mkdtemp(join(folder, "job-")));
    const logger = silentLogger();
    const clock = new SystemClock();
    const { image } = base.value;
    const journal = await Journal.begin(join(stateDir, "journal"));
    const docker = new DockerDriver({ stateDir, socketPath, image, warm: 1 });
    const driver = new JournalledDriver(docker, journal);
    const host = new Host({ drivers: [driver], logger });
    const reconciler = new Reconciler({
      ...{ host, journal, stateDir, clock, logger, intervalMs: 0 },
      finders: [engineFinder({ socketPath, driver: "docker" }), mountFinder, folderFinder],
    });
    const bed = await Bed.open();
    try {
      bed.startReal(driver, 1_000);
      const id = await bed.submit({
        work: { case: "command", value: { argv: ["sh", "-c", "echo began; exec sleep 600"] } },
        isolation: Isolation.CONTAINER,
        limits: small,
      });
      await bed.until(async () => (await bed.log(id)) !== "");
      await docker.settled();
      await engine.stop();
      engine = undefined;
      const { status, result } = await bed.ended(id);
      expect([status, result?.reason]).to.deep.equal([JobStatus.FAILED, "SANDBOX_FAILED"]);
      expect(await bed.log(id)).to.equal("began\n");
      // It is in the list until the engine is there to remove it.
      expect(driver.list().map(({ jobId }) => jobId)).to.deep.equal([id]);

      engine = await startEngine(place);
      await reconciler.sweep();
      expect(driver.list()).to.deep.equal([]);
      await host.close();
      const { body } = await askEngine(socketPath, "GET", "/containers/json?all=true");
      expect(JSON.parse(body)).to.deep.equal([]);
      expect((await readdir(join(stateDir, "docker"))).sort()).to.deep.equal(["templates"]);
      expect(await readFile("/proc/self/mounts", "utf8")).to.not.include(stateDir);
      expect((await reconciler.sweep()).found).to.deep.equal([]);
    } finally {
      await bed.close();
      await reconciler.close();
      await journal.close();
    }
  });
});
