/** The sweep of a host: what nobody owns goes, and what somebody owns stays. */
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { silentLogger } from "@devmesh/mesh/log";
import { TestClock } from "@devmesh/mesh/runtime";
import { expect } from "chai";
import { makeDoorFolder } from "../../services/vm/drivers/door-folder.ts";
import { formatOwner, thisOwner } from "../../services/vm/drivers/owner.ts";
import { snapshotDraftFinder } from "../../services/vm/drivers/qemu/draft-finder.ts";
import { exclusively } from "../../services/vm/drivers/qemu/exclusive.ts";
import { suiteSpec } from "../../services/vm/drivers/suite/harness.ts";
import {
  doorFinder,
  draftFinder,
  folderFinder,
} from "../../services/vm/sandboxes/finders/file-finders.ts";
import {
  groupFinder,
  loopFinder,
  mountFinder,
  processFinder,
} from "../../services/vm/sandboxes/finders/host-finders.ts";
import { Host } from "../../services/vm/sandboxes/host.ts";
import { Journal } from "../../services/vm/sandboxes/journal.ts";
import { JournalledDriver } from "../../services/vm/sandboxes/journalled-driver.ts";
import { Reconciler } from "../../services/vm/sandboxes/reconciler.ts";
import { TestDriver } from "./test-driver.ts";

describe("the reconciler", function () {
  this.timeout(60_000);
  let stateDir: string;
  let journal: Journal;
  let inner: TestDriver;
  let driver: JournalledDriver;
  let reconciler: Reconciler;
  let clock: TestClock;

  beforeEach(async () => {
    stateDir = realpathSync(mkdtempSync(join(tmpdir(), "devmesh-sweep-")));
    journal = await Journal.begin(join(stateDir, "journal"));
    inner = new TestDriver();
    driver = new JournalledDriver(inner, journal);
    clock = new TestClock();
    reconciler = new Reconciler({
      host: new Host({ drivers: [driver], logger: silentLogger() }),
      ...{ journal, stateDir, clock, logger: silentLogger(), intervalMs: 60_000 },
      finders: [
        ...[processFinder, groupFinder(), mountFinder, loopFinder],
        ...[folderFinder, draftFinder, snapshotDraftFinder, doorFinder],
      ],
    });
  });
  afterEach(async () => {
    await reconciler.close();
    await journal.close();
    rmSync(stateDir, { recursive: true, force: true });
  });

  /** A folder as a driver makes it for a sandbox. */
  function sandboxFolder(id: string, owner: string): string {
    const folder = join(stateDir, "process", id);
    mkdirSync(folder, { recursive: true });
    writeFileSync(`${folder}.owner`, owner);
    return folder;
  }

  const dead = "999999999/1/none/none";
  const isRoot = process.getuid?.() === 0;

  it("finds nothing where nothing was left", async () => {
    expect(await reconciler.sweep()).to.deep.include({ found: [], reaped: [] });
  });

  it("removes the folder of a dead process's sandbox, and leaves a living one's", async () => {
    const left = sandboxFolder("sbx_left", dead);
    const kept = sandboxFolder("sbx_kept", formatOwner(await thisOwner()));
    const looked = await reconciler.sweep({ dryRun: true });
    expect(looked.found.map(({ name, removed }) => [name, removed])).to.deep.equal([[left, false]]);
    expect(existsSync(left)).to.equal(true);
    const { found } = await reconciler.sweep();
    expect(found).to.deep.equal([
      { kind: "folder", name: left, sandboxId: "sbx_left", removed: true, detail: "" },
    ]);
    expect([existsSync(left), existsSync(`${left}.owner`), existsSync(kept)]).to.deep.equal([
      false,
      false,
      true,
    ]);
    expect(reconciler.removed).to.equal(1);
    expect((await reconciler.sweep()).found).to.deep.equal([]);
  });

  it("leaves alone what its own journal has under way", async () => {
    const making = inner.hold("create");
    const spec = suiteSpec();
    const made = driver.create(spec);
    await making.reached;
    const folder = sandboxFolder(spec.id, dead);
    expect((await reconciler.sweep()).found).to.deep.equal([]);
    expect(existsSync(folder)).to.equal(true);
    making.release();
    await (await made).delete();
    expect((await reconciler.sweep()).found).to.have.length(1);
  });

  it("tries again what could not be removed before", async () => {
    const sandbox = await driver.create(suiteSpec());
    inner.on("delete", () => Promise.reject(new Error("busy")));
    await sandbox.delete().catch(() => {});
    expect((await reconciler.sweep()).reaped).to.deep.equal([]);
    inner.on("delete", async () => {});
    expect((await reconciler.sweep()).reaped).to.deep.equal([sandbox.id]);
    expect(driver.list()).to.deep.equal([]);
  });

  it("ends a dead process's programs that name its sandbox", async () => {
    const folder = sandboxFolder("sbx_runs", dead);
    const child = spawn("sh", ["-c", "read nothing", `${folder}/disk`], {
      stdio: ["pipe", "ignore", "ignore"],
    });
    await once(child, "spawn");
    const ended = once(child, "exit");
    const { found } = await reconciler.sweep();
    expect(found.map(({ kind, removed }) => [kind, removed])).to.deep.equal([
      ["process", true],
      ["folder", true],
    ]);
    expect((await ended)[1]).to.equal("SIGKILL");
  });

  it("takes mounts, loop devices and control groups away, and only this folder's", async function () {
    if (!isRoot || !existsSync("/dev/loop-control")) {
      console.log("      skipped: only root mounts images");
      this.skip();
    }
    const id = "sbx_mounted";
    const folder = sandboxFolder(id, dead);
    const image = join(folder, "disk.img");
    const disk = join(folder, "disk");
    mkdirSync(disk);
    execFileSync("truncate", ["--size", "8M", image]);
    execFileSync("mkfs.ext4", ["-q", "-F", image]);
    execFileSync("mount", ["-o", "loop", image, disk]);
    const mounts = () => readFileSync("/proc/self/mountinfo", "utf8");
    expect(mounts()).to.include(disk);
    // The journal of a process that is gone names it: its control group may be ours.
    writeFileSync(
      join(stateDir, "journal", "9-dead.jsonl"),
      `${JSON.stringify({ owner: dead })}\n${JSON.stringify({ kind: "sandbox", id, driver: "process", jobId: "j", state: "made", atMs: 1 })}\n`,
    );
    const { found } = await reconciler.sweep();
    expect(found.filter(({ removed }) => !removed)).to.deep.equal([]);
    expect(found.map(({ kind }) => kind)).to.include.members(["mount", "folder"]);
    expect(mounts()).to.not.include(disk);
    expect(execFileSync("losetup", ["--all"]).toString()).to.not.include(image);
    expect(existsSync(folder)).to.equal(false);
    expect(existsSync(join(stateDir, "journal", "9-dead.jsonl"))).to.equal(false);
  });

  it("takes the doors of dead processes away, and leaves living ones'", async () => {
    const own = await makeDoorFolder();
    const gone = own.replace(/dm-door-\d+\./, "dm-door-999999999.");
    mkdirSync(gone);
    const foreign = join(tmpdir(), `dm-door-1.1.00000000.${process.pid}`);
    mkdirSync(foreign);
    try {
      const { found } = await reconciler.sweep();
      expect(found.map(({ name }) => name)).to.include(
        realpathSync(tmpdir()) + gone.slice(tmpdir().length),
      );
      expect([existsSync(own), existsSync(gone), existsSync(foreign)]).to.deep.equal([
        true,
        false,
        true,
      ]);
    } finally {
      for (const path of [own, foreign]) rmSync(path, { recursive: true, force: true });
    }
  });

  it("takes the way out to the network of a killed process away", async () => {
    const module = (path: string) => JSON.stringify(new URL(path, import.meta.url).href);
    const source = `
      import { create } from "@bufbuild/protobuf";
      import { NetworkPolicySchema } from "@devmesh/gen/devmesh/api/v1/network_policy_pb";
      import { SystemClock } from "@devmesh/mesh/runtime";
      import { openEgress } from ${module("../../services/vm/egress/egress.ts")};
      const policy = create(NetworkPolicySchema, { allow: [{ host: "example.org" }] });
      const { door } = await openEgress({
        host: {}, policy, jobId: "j", folder: ${JSON.stringify(stateDir)},
        clock: new SystemClock(), report: async () => {}, note: () => {},
      });
      process.stdout.write(door.socketPath);
      setInterval(() => {}, 1000);`;
    const child = spawn(process.execPath, ["--input-type=module-typescript", "-e", source], {
      stdio: ["ignore", "pipe", "inherit"],
      cwd: join(import.meta.dirname, "../.."),
    });
    const ended = once(child, "exit");
    const socket = String((await once(child.stdout, "data"))[0]);
    await reconciler.sweep();
    expect(existsSync(socket), "while its process lives").to.equal(true);
    child.kill("SIGKILL");
    await ended;
    const { found } = await reconciler.sweep();
    expect(found).to.deep.include({
      ...{ kind: "door", name: join(realpathSync(tmpdir()), basename(dirname(socket))) },
      ...{ sandboxId: "", removed: true, detail: "" },
    });
    expect(existsSync(dirname(socket))).to.equal(false);
  });

  it("takes halves of files away that dead processes were writing, and leaves living ones'", async () => {
    const dead = 999_999_999;
    const halves = (pid: number) => [
      `mounts/.${pid}.0a1b2c`,
      `mounts/.${pid}.0a1b2c.tree`,
      `docker/templates/ext4-64.img.${pid}-17`,
      `process/templates/ext4-64.img.${pid}-17`,
      `journal/${pid}-0123456789abcdef.jsonl.new`,
    ];
    const kept = [...halves(process.pid), "mounts/whole.ext4", "docker/templates/ext4-64.img"];
    const gone = [...halves(dead), "snapshots/.draft-0a1b2c"];
    for (const path of [...kept, ...gone]) {
      mkdirSync(join(stateDir, path, ".."), { recursive: true });
      writeFileSync(join(stateDir, path), "half");
    }
    const { found } = await reconciler.sweep();
    expect(found.filter(({ removed }) => !removed)).to.deep.equal([]);
    expect(found.map(({ kind, name }) => [kind, name]).sort()).to.deep.equal(
      gone.map((path) => ["draft", join(stateDir, path)]).sort(),
    );
    for (const path of kept) expect(existsSync(join(stateDir, path)), path).to.equal(true);
    for (const path of gone) expect(existsSync(join(stateDir, path)), path).to.equal(false);
  });

  it("leaves the half of a snapshot alone that somebody makes", async () => {
    const draft = join(stateDir, "snapshots", ".draft-0a1b2c");
    mkdirSync(draft, { recursive: true });
    const lock = join(stateDir, "snapshots", ".lock");
    await exclusively(lock, new AbortController().signal, async () => {
      expect((await reconciler.sweep()).found).to.deep.equal([]);
    });
    expect(existsSync(draft)).to.equal(true);
    expect((await reconciler.sweep()).found.map(({ name }) => name)).to.deep.equal([draft]);
  });

  it("does not take for a leftover what its owner removes meanwhile", async () => {
    const sandbox = await driver.create(suiteSpec());
    let removed = 0;
    const slow = new Reconciler({
      host: new Host({ drivers: [driver], logger: silentLogger() }),
      ...{ journal, stateDir, clock, logger: silentLogger(), intervalMs: 0 },
      finders: [
        {
          kind: "process",
          find: async () => {
            await sandbox.delete();
            const remove = async () => {
              removed += 1;
            };
            return [{ kind: "process", name: "1", sandboxId: sandbox.id, remove }];
          },
        },
      ],
    });
    expect((await slow.sweep()).found).to.deep.equal([]);
    // One that is still there when its owner is done is a leftover.
    expect((await slow.sweep()).found).to.have.length(1);
    expect(removed).to.equal(1);
  });

  it("tells what it could not remove, keeps its journal, and tries again", async () => {
    const path = join(stateDir, "journal", "9-dead.jsonl");
    writeFileSync(
      path,
      `${JSON.stringify({ owner: dead })}\n${JSON.stringify({ kind: "sandbox", id: "sbx_stuck", driver: "x", jobId: "j", state: "made", atMs: 1 })}\n`,
    );
    let isStuck = true;
    const stubborn = new Reconciler({
      host: new Host({ drivers: [driver], logger: silentLogger() }),
      ...{ journal, stateDir, clock, logger: silentLogger(), intervalMs: 0 },
      finders: [
        {
          kind: "mount",
          find: async ({ orphaned }) =>
            [...orphaned].map((sandboxId) => ({
              kind: "mount" as const,
              name: "net0",
              sandboxId,
              remove: async () => {
                if (isStuck) throw new Error("it is in use");
              },
            })),
        },
      ],
    });
    const { found } = await stubborn.sweep();
    expect(found[0]).to.include({ removed: false, detail: "it is in use" });
    expect(existsSync(path)).to.equal(true);
    isStuck = false;
    expect((await stubborn.sweep()).found[0]).to.include({ removed: true });
    expect(existsSync(path)).to.equal(false);
  });

  it("keeps a journal while a kind cannot be looked for, unless the host can have none", async () => {
    const path = join(stateDir, "journal", "9-dead.jsonl");
    writeFileSync(
      path,
      `${JSON.stringify({ owner: dead })}\n${JSON.stringify({ kind: "sandbox", id: "sbx_kept", driver: "x", jobId: "j", state: "made", atMs: 1 })}\n`,
    );
    let failure: Error | undefined = new Error("the engine does not answer");
    const blind = new Reconciler({
      host: new Host({ drivers: [driver], logger: silentLogger() }),
      ...{ journal, stateDir, clock, logger: silentLogger(), intervalMs: 0 },
      finders: [
        {
          kind: "container",
          find: async () => {
            if (failure) throw failure;
            return [];
          },
        },
      ],
    });
    expect((await blind.sweep()).found).to.deep.equal([]);
    expect(existsSync(path)).to.equal(true);
    failure = Object.assign(new Error("no such socket"), { code: "ENOENT" });
    await blind.sweep();
    expect(existsSync(path)).to.equal(false);
  });

  it("sweeps from time to time by itself", async () => {
    const left = sandboxFolder("sbx_later", dead);
    reconciler.start();
    while (existsSync(left)) {
      clock.advance(1_000);
      await new Promise((resolve) => setImmediate(resolve));
    }
    await reconciler.sweep();
    expect(reconciler.removed).to.equal(1);
  });

  it("rests while nothing happens on the host, and looks again from time to time", async () => {
    let looks = 0;
    const lazy = new Reconciler({
      host: new Host({ drivers: [driver], logger: silentLogger() }),
      ...{ journal, stateDir, clock, logger: silentLogger(), intervalMs: 1_000 },
      finders: [
        {
          kind: "folder",
          find: async () => {
            looks += 1;
            return [];
          },
        },
      ],
    });
    const sweeps = async (count: number) => {
      for (let i = 0; i < count; i++) {
        while (clock.sleeping === 0) await new Promise((resolve) => setImmediate(resolve));
        const before = lazy.last;
        clock.advance(1_000);
        while (lazy.last === before) await new Promise((resolve) => setImmediate(resolve));
      }
    };
    lazy.start();
    try {
      await sweeps(5);
      expect(looks).to.equal(1);
      await (await driver.create(suiteSpec())).delete();
      await sweeps(2);
      expect(looks).to.equal(2);
      await sweeps(3);
      expect(looks, "the tenth").to.equal(3);
      await lazy.sweep();
      expect(looks, "asked for").to.equal(4);
    } finally {
      await lazy.close();
    }
  });
});
