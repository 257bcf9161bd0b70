/** What only the container driver promises: pins, bursts, containers kept ready, broken ones. */
import { mkdtemp, readdir, realpath, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DevmeshError } from "@devmesh/mesh/errors";
import { expect } from "chai";
import Docker from "dockerode";
import { type DockerEngine, ensureBaseImage, startDocker } from "../../scripts/parts/docker.ts";
import { askEngine } from "../../scripts/parts/docker-http.ts";
import {
  DockerDriver,
  type DockerDriverOptions,
} from "../../services/vm/drivers/docker/docker-driver.ts";
import { engineFinder } from "../../services/vm/drivers/docker/engine-finder.ts";
import {
  run,
  sandboxWithPrograms,
  shell,
  suiteSpec,
} from "../../services/vm/drivers/suite/harness.ts";
import { settled } from "../settled.ts";
import { HeldEngine } from "./held-engine.ts";

const small = { memoryMib: 64, cpuMillis: 1000, pids: 32, diskMib: 16 };
const unique = `${process.pid}-${Date.now()}`;

describe("the container driver", function () {
  this.timeout(300_000);
  let engine: DockerEngine | undefined;
  let stateDir: string;
  let image: string;
  let imageId: string;
  const drivers: DockerDriver[] = [];

  before(async function () {
    const found = await startDocker();
    const base = found.ok ? await ensureBaseImage(found.value.socketPath) : found;
    if (!found.ok || !base.ok) {
      if (this.test?.parent) this.test.parent.title += ` (skipped: ${found.ok || found.reason})`;
      return this.skip();
    }
    engine = found.value;
    image = base.value.image;
    imageId = base.value.id;
    stateDir = await mkdtemp(join(tmpdir(), "devmesh-containers-"));
  });

  afterEach(async () => {
    for (const driver of drivers.splice(0)) {
      await Promise.all(driver.list().map((sandbox) => sandbox.delete()));
      await driver.close();
    }
  });

  after(async () => {
    if (engine === undefined) return;
    await rm(stateDir, { recursive: true, force: true });
    await engine.stop();
  });

  const socketPath = () => engine?.socketPath ?? "";
  const make = (more: Partial<DockerDriverOptions> = {}): DockerDriver => {
    const driver = new DockerDriver({ stateDir, socketPath: socketPath(), image, ...more });
    drivers.push(driver);
    return driver;
  };
  /** The names of this test's containers, by the label of its state folder. */
  const containers = async (): Promise<string[]> => {
    const { body } = await askEngine(socketPath(), "GET", "/containers/json?all=true");
    const all = JSON.parse(body) as { Names: string[]; Labels: Record<string, string> }[];
    const own = await stateLabelOf();
    return all
      .filter(({ Labels }) => Labels["devmesh.state"] === own)
      .flatMap(({ Names }) => Names);
  };
  const stateLabelOf = async (): Promise<string> => {
    const { ContainerMaker } = await import("../../services/vm/drivers/docker/container-maker.ts");
    const { Engine } = await import("../../services/vm/drivers/docker/engine.ts");
    const of = { driver: "docker", isolation: "container", user: "1000:1000" } as const;
    const maker = new ContainerMaker({
      ...of,
      stateDir,
      runtime: undefined,
      engine: new Engine({ socketPath: socketPath(), driver: "docker" }),
    });
    return (await maker.stateLabel()).split("=")[1] ?? "";
  };
  const refusalOf = async (call: Promise<unknown>): Promise<DevmeshError> => {
    try {
      await call;
    } catch (error: unknown) {
      if (error instanceof DevmeshError) return error;
      throw error;
    }
    throw new Error("it was not refused");
  };

  it("refuses an image that is not there, and leaves nothing", async () => {
    const driver = make({ image: `devmesh-none-${unique}` });
    const { available, reason, remedy } = await driver.probe();
    expect({ available, reason }).to.deep.equal({
      available: false,
      reason: `the engine has no image devmesh-none-${unique}`,
    });
    expect(remedy).to.not.equal("");
    expect((await refusalOf(driver.create(suiteSpec()))).reason).to.equal("ISOLATION_UNAVAILABLE");
    expect(driver.list()).to.deep.equal([]);
    expect(await containers()).to.deep.equal([]);
  });

  it("takes a pinned image, and no other in its place", async () => {
    for (const pinned of [imageId, `${image}@${imageId}`]) {
      const sandbox = await make({ image: pinned }).create(suiteSpec({ limits: small }));
      await sandbox.delete();
    }
    const other = `sha256:${"0".repeat(64)}`;
    const driver = make({ image: `${image}@${other}` });
    const error = await refusalOf(driver.create(suiteSpec()));
    expect(error.reason).to.equal("ISOLATION_UNAVAILABLE");
    expect(error.message).to.include(other).and.include(imageId);
  });

  it("says which runtime the engine lacks", async () => {
    const { available, reason, remedy } = await make({ runtime: `none-${unique}` }).probe();
    expect({ available, reason }).to.deep.equal({
      available: false,
      reason: `the engine has no runtime none-${unique}`,
    });
    expect(remedy).to.include(`none-${unique}`);
  });

  it("says that no engine answers, without a stack trace", async () => {
    const driver = make({ socketPath: join(stateDir, "none.sock") });
    const { available, reason } = await driver.probe();
    expect(available).to.equal(false);
    expect(reason).to.include("no container engine answers").and.not.include("    at ");
    expect((await refusalOf(driver.create(suiteSpec()))).reason).to.equal("SANDBOX_FAILED");
  });

  it("hands a container that was made ahead to one sandbox only", async () => {
    const driver = make({ warm: 2 });
    const spec = () => suiteSpec({ limits: small });
    const first = await driver.create(spec());
    await driver.settled();
    const ready = (await containers()).filter((name) => name.includes("sbx_warm"));
    expect(ready).to.have.length(2);
    const others = await Promise.all([driver.create(spec()), driver.create(spec())]);
    for (const [index, sandbox] of [first, ...others].entries()) {
      await shell(sandbox, `echo ${index} > /work/mine; echo ${index} > /tmp/mine`);
    }
    for (const [index, sandbox] of [first, ...others].entries()) {
      const { text } = await shell(sandbox, "cat /work/mine /tmp/mine; hostname");
      expect(text).to.equal(`${index}\n${index}\ndevmesh\n`);
      expect(sandbox.receipt.diskBytes.source).to.include("sbx_");
    }
    await driver.settled();
    for (const sandbox of [first, ...others]) await sandbox.delete();
    await driver.close();
    expect(await containers()).to.deep.equal([]);
    expect(
      (await readdir(join(stateDir, "docker"))).filter((name) => name !== "templates"),
    ).to.deep.equal([]);
  });

  it("replaces what was made ahead and has died", async () => {
    const driver = make({ warm: 1 });
    const spec = () => suiteSpec({ limits: small });
    await (await driver.create(spec())).delete();
    await driver.settled();
    const [name = ""] = (await containers()).filter((found) => found.includes("sbx_warm"));
    await askEngine(socketPath(), "POST", `/containers${name}/kill`);
    const sandbox = await driver.create(spec());
    expect((await shell(sandbox, "echo alive")).text).to.equal("alive\n");
    await driver.settled();
    expect(await containers()).to.not.include(name);
  });

  it("reaps what was claimed by a process that died, under the sandbox's own name", async () => {
    const driver = make({ warm: 1 });
    const spec = suiteSpec({ limits: small });
    await (await driver.create(suiteSpec({ limits: small }))).delete();
    await driver.settled();
    await driver.create(spec);
    await driver.settled();
    // As if its process had died: nobody of that number and start time runs.
    const base = join(stateDir, "docker");
    await writeFile(join(base, `${spec.id}.owner`), "1/0/gone/pid:[1]");
    const next = make();
    expect(await next.reap()).to.deep.equal([spec.id]);
    expect(await next.reap()).to.deep.equal([]);
    expect((await readdir(base)).filter((name) => name.includes(spec.id))).to.deep.equal([]);
  });

  it("reaps a container whose folder is gone and which has its sandbox's name", async () => {
    const driver = make();
    const sandbox = await driver.create(suiteSpec({ limits: small }));
    const docker = new Docker({ socketPath: socketPath(), host: undefined });
    const { Config } = await docker.getContainer(`devmesh-${sandbox.id}`).inspect();
    const Labels = { ...Config.Labels, "devmesh.owner": "1/0/gone/pid:[1]" };
    const left = { ...Labels, "devmesh.sandbox": `sbx_warm${unique.replace("-", "x")}` };
    await docker.createContainer({ name: "devmesh-sbx_renamed", Image: image, Labels: left });
    expect(await driver.reap()).to.deep.equal([]);
    expect(await containers()).to.deep.equal([`/devmesh-${sandbox.id}`]);
  });

  it("has what a dead process labelled found, whatever it is, and nothing else", async () => {
    const sandbox = await make().create(suiteSpec({ limits: small }));
    const docker = new Docker({ socketPath: socketPath(), host: undefined });
    const { Config } = await docker.getContainer(`devmesh-${sandbox.id}`).inspect();
    const Labels = { ...Config.Labels, "devmesh.owner": "1/0/gone/pid:[1]" };
    const Name = `devmesh-left-${unique}`;
    const left = [
      (await docker.createContainer({ name: Name, Image: image, Labels })).id,
      (await docker.createNetwork({ Name, Labels, Internal: true })).id,
      (await docker.createVolume({ Name, Labels })).name,
    ];
    const living = await docker.createVolume({ Name: `${Name}-kept`, Labels: Config.Labels });
    try {
      const finder = engineFinder({ socketPath: socketPath(), driver: "docker" });
      const find = async () =>
        finder.find({ stateDir: await realpath(stateDir), orphaned: new Set() });
      const found = await find();
      expect(found.map(({ kind }) => kind)).to.deep.equal(["container", "network", "volume"]);
      expect(found.map(({ name }) => name)).to.deep.equal(left);
      for (const leftover of found) await leftover.remove();
      for (const leftover of found) await leftover.remove();
      expect(await find()).to.deep.equal([]);
      expect(await containers()).to.deep.equal([`/devmesh-${sandbox.id}`]);
    } finally {
      await living.remove();
    }
  });

  for (const [what, warm] of [
    ["that it makes", 0],
    ["that it was about to take", 1],
  ] as const) {
    it(`waits for a container ${what} when the start was given up`, async () => {
      const held = await HeldEngine.listen(join(stateDir, `held-${warm}.sock`), socketPath());
      try {
        const driver = make({ socketPath: held.socketPath, warm });
        const spec = suiteSpec({ limits: small });
        const name = warm > 0 ? "sbx_warm" : spec.id;
        const own = held.hold(`POST /containers/create?name=devmesh-${name}`);
        // Its shape is kept ready from now on, and held.
        if (warm > 0) await (await driver.create(suiteSpec({ limits: small }))).delete();
        const giveUp = new AbortController();
        const start = driver.create(spec, giveUp.signal);
        await own.reached;
        giveUp.abort();
        expect((await refusalOf(start)).reason).to.equal("CANCELLED");
        let isClosed = false;
        const closing = driver.close().then(() => {
          isClosed = true;
        });
        await settled();
        expect(isClosed).to.equal(false);
        own.release();
        await closing;
        expect(await containers()).to.deep.equal([]);
      } finally {
        await held.close();
      }
    });
  }

  it("makes fifty at once, or says that it is too many; none hangs", async () => {
    const driver = make({ warm: 2 });
    const burst = Array.from({ length: 50 }, async () => {
      try {
        const sandbox = await driver.create(suiteSpec({ limits: small }));
        const { text } = await shell(sandbox, "echo here");
        await sandbox.delete();
        return text;
      } catch (error: unknown) {
        if (!(error instanceof DevmeshError)) throw error;
        expect(error.retryAfterMs, `${error.message} ${error.cause}`).to.be.greaterThan(0);
        return error.reason;
      }
    });
    const outcomes = await Promise.all(burst);
    for (const outcome of outcomes) expect(outcome).to.be.oneOf(["here\n", "RATE_LIMITED"]);
    expect(outcomes.filter((outcome) => outcome === "here\n").length).to.be.greaterThan(10);
    expect(driver.list()).to.deep.equal([]);
    await driver.close();
    expect(await containers()).to.deep.equal([]);
  });

  it("ends the programs of a container that breaks, and deletes it", async () => {
    const driver = make();
    const sandbox = await sandboxWithPrograms({
      subject: () => ({ driver, cleanup: async () => {} }),
      traits: {},
    });
    const running = await sandbox.exec({ argv: ["sleep", "600"], env: {} });
    await askEngine(socketPath(), "POST", `/containers/devmesh-${sandbox.id}/kill`);
    expect((await refusalOf(running.exit)).reason).to.equal("SANDBOX_FAILED");
    expect((await refusalOf(run(sandbox, "args", ["x"]))).reason).to.equal("SANDBOX_FAILED");
    await sandbox.delete();
    expect(driver.list()).to.deep.equal([]);
    expect(await containers()).to.deep.equal([]);
  });
});
