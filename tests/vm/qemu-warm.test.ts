/** Guests that are kept ready, real ones: each handed out once, as new as any other, and gone when nobody wants it. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { copyFile, mkdtemp, readdir, readFile, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { expect } from "chai";
import { ensureGuest } from "../../deploy/guest/ensure-guest.ts";
import { cgroupOf } from "../../services/vm/drivers/cgroup.ts";
import type { Sandbox } from "../../services/vm/drivers/driver.ts";
import { signalProcess } from "../../services/vm/drivers/process-tree.ts";
import { QemuDriver, type QemuDriverOptions } from "../../services/vm/drivers/qemu/qemu-driver.ts";
import { shell, suiteSpec } from "../../services/vm/drivers/suite/harness.ts";
import { until } from "../e2e/wait.ts";

const bootMs = 300_000;
const module = new URL("../../services/vm/drivers/qemu/qemu-driver.ts", import.meta.url);

describe("guests that are kept ready", function () {
  this.timeout(bootMs);
  let stateDir: string;
  let guestDir: string;
  const drivers: QemuDriver[] = [];

  before(async function () {
    const guest = await ensureGuest();
    if (!guest.ok) {
      if (this.test?.parent) this.test.parent.title += ` (skipped: ${guest.reason})`;
      return this.skip();
    }
    ({ guestDir } = guest.value);
    stateDir = await mkdtemp(join(tmpdir(), "devmesh-ready-"));
  });

  afterEach(async () => {
    for (const driver of drivers.splice(0)) {
      await Promise.all(driver.list().map((sandbox) => sandbox.delete()));
      await driver.close();
    }
    if (stateDir) expect(await names()).to.deep.equal([]);
  });

  after(async () => {
    if (stateDir) await rm(stateDir, { recursive: true, force: true });
  });

  const options = (more: Partial<QemuDriverOptions> = {}): QemuDriverOptions => ({
    ...{ stateDir, guestDir, accelerator: "tcg", warm: 1 },
    ...more,
  });

  const make = (more: Partial<QemuDriverOptions> = {}) => {
    const driver = new QemuDriver(options(more));
    drivers.push(driver);
    return driver;
  };

  /** A driver with one guest ready. */
  const makeReady = async (more: Partial<QemuDriverOptions> = {}) => {
    const driver = make(more);
    await (await driver.create(suiteSpec())).delete();
    await driver.settled();
    expect(await names()).to.have.length(1);
    return driver;
  };

  const names = async () => (await readdir(join(stateDir, "vms"))).sort();
  const readyNames = async () => (await names()).filter((name) => name.startsWith("own_"));

  /** The process of a guest of this test; undefined if there is none. */
  const pidOf = async (id: string): Promise<number | undefined> => {
    for (const pid of (await readdir("/proc")).filter((name) => /^\d+$/.test(name))) {
      const line = await readFile(`/proc/${pid}/cmdline`, "latin1").catch(() => "");
      if (line.split("\0").includes(`guest=${id}`)) return Number(pid);
    }
    return undefined;
  };
  const readyPid = async () => {
    const pid = await pidOf((await readyNames())[0] ?? "");
    if (pid === undefined) throw new Error("nothing is ready");
    return pid;
  };

  const whoIs = async (sandbox: Sandbox) => {
    const from = Date.now();
    const { text } = await shell(
      sandbox,
      `cat /etc/machine-id; head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \\n'; echo
       cat /proc/sys/kernel/random/boot_id /etc/hostname; hostname; date +%s.%N`,
    );
    const to = Date.now();
    const [machine = "", random = "", boot = "", file = "", host = "", date = ""] =
      text.split("\n");
    expect(Number(date) * 1000).to.be.within(from - 1000, to + 1000);
    expect(file).to.equal(host);
    expect(host).to.equal(sandbox.id.replaceAll("_", "-"));
    expect(machine).to.match(/^[0-9a-f]{32}$/);
    return { machine, random, boot };
  };

  it("become ten sandboxes in a row, each with its own identity, entropy, boot and a right clock", async () => {
    const driver = await makeReady();
    const seen = { machine: new Set(), random: new Set(), boot: new Set(), guest: new Set() };
    for (let turn = 0; turn < 10; turn++) {
      const [ready = ""] = await readyNames();
      seen.guest.add(ready);
      const sandbox = await driver.create(suiteSpec());
      // It is the one that was ready, under the name that it was made by.
      expect(await pidOf(ready)).to.be.a("number");
      expect(await pidOf(sandbox.id)).to.equal(undefined);
      const { machine, random, boot } = await whoIs(sandbox);
      seen.machine.add(machine);
      seen.random.add(random);
      seen.boot.add(boot);
      await sandbox.delete();
      expect(await pidOf(ready)).to.equal(undefined);
      expect(await names()).to.not.include(ready);
      await driver.settled();
    }
    for (const [what, values] of Object.entries(seen)) expect(values.size, what).to.equal(10);
  });

  it("are handed out once: of two at once, one gets a new guest, and neither sees the other", async () => {
    const driver = await makeReady();
    const [ready = ""] = await readyNames();
    const both = await Promise.all([driver.create(suiteSpec()), driver.create(suiteSpec())]);
    const pids = await Promise.all([ready, ...both.map(({ id }) => id)].map(pidOf));
    expect(pids.filter((pid) => pid !== undefined)).to.have.length(2);
    for (const sandbox of both) await shell(sandbox, `echo ${sandbox.id} >>mine`);
    const people = await Promise.all(both.map(whoIs));
    expect(people[0]?.machine).to.not.equal(people[1]?.machine);
    for (const sandbox of both) {
      expect((await shell(sandbox, "cat mine")).text).to.equal(`${sandbox.id}\n`);
    }
  });

  it("are held to the job's own caps, in the guest and around it, with nothing counted yet", async () => {
    const driver = await makeReady();
    const [ready = ""] = await readyNames();
    // Another job's numbers, the same machine.
    const limits = { memoryMib: 250, cpuMillis: 500, pids: 77, diskMib: 96 };
    const sandbox = await driver.create(suiteSpec({ limits }));
    const { receipt } = sandbox;
    expect(receipt.memoryBytes).to.deep.equal({
      value: 250 << 20,
      source: "guest:/sys/fs/cgroup/job/memory.max",
    });
    expect([receipt.cpuMillis.value, receipt.pids.value]).to.deep.equal([500, 77]);
    const { pids, pidsRefused } = await sandbox.stats();
    expect({ pids, pidsRefused }).to.deep.equal({ pids: 0, pidsRefused: 0 });
    const pid = await pidOf(ready);
    if (process.getuid?.() !== 0 || pid === undefined) return;
    expect((await (await cgroupOf(pid)).limits()).cpuMillis.value).to.equal(750);
  });

  it("stand still without using the processor, and once they are a sandbox's, when that does", async () => {
    const driver = await makeReady();
    const pid = await readyPid();
    const used = async () => {
      let ns = 0;
      for (const task of await readdir(`/proc/${pid}/task`)) {
        ns += Number((await readFile(`/proc/${pid}/task/${task}/schedstat`, "utf8")).split(" ")[0]);
      }
      return ns;
    };
    let before = await used();
    await until("nothing of it runs between two looks", async () => {
      const now = await used();
      const ran = now - before;
      before = now;
      return ran === 0;
    });
    const sandbox = await driver.create(suiteSpec());
    await sandbox.freeze();
    await sandbox.resume();
    await whoIs(sandbox);
    await sandbox.freeze();
    await sandbox.delete();
    expect(await used().catch(() => "gone")).to.equal("gone");
  });

  it("are replaced by a new one when they were killed, or do not answer", async () => {
    const driver = await makeReady();
    const [ready = ""] = await readyNames();
    process.kill(await readyPid(), "SIGKILL");
    await until("it is dropped", async () => !(await names()).includes(ready));
    const sandbox = await driver.create(suiteSpec());
    expect(await pidOf(sandbox.id)).to.be.a("number");
    await sandbox.delete();
    await driver.settled();
    const hung = await readyPid();
    // It is let go on once, and stopped again before it can have answered.
    const stops = setInterval(() => signalProcess(hung, "SIGSTOP"), 1);
    const next = await driver.create(suiteSpec());
    clearInterval(stops);
    expect(await pidOf(next.id)).to.be.a("number");
    await whoIs(next);
    expect(await readFile(`/proc/${hung}/cmdline`, "latin1").catch(() => "")).to.equal("");
  });

  it("go with their time, and are not made where there is no room", async () => {
    const short = make({ warmKeepMs: 1 });
    await (await short.create(suiteSpec())).delete();
    await short.settled();
    await until("it is dropped", async () => (await names()).length === 0);
    const narrow = make({ warmMemoryMib: 128 });
    await (await narrow.create(suiteSpec())).delete();
    await narrow.settled();
    expect(await names()).to.deep.equal([]);
  });

  it("go with the image that they were made from", async () => {
    const image = await mkdtemp(join(stateDir, "guest-"));
    for (const name of await readdir(guestDir)) {
      if (name === "root.ext4") await copyFile(join(guestDir, name), join(image, name));
      else await symlink(join(guestDir, name), join(image, name));
    }
    const driver = await makeReady({ guestDir: image });
    const [ready = ""] = await readyNames();
    await rm(join(image, "root.ext4"));
    await copyFile(join(guestDir, "root.ext4"), join(image, "root.ext4"));
    const sandbox = await driver.create(suiteSpec());
    expect(await pidOf(sandbox.id)).to.be.a("number");
    await driver.settled();
    expect(await names()).to.not.include(ready);
  });

  it("end with a host that is killed: one that waits, and one that is a sandbox's", async () => {
    const specs = [suiteSpec(), suiteSpec()];
    const source = `
      import { QemuDriver } from ${JSON.stringify(module)};
      const driver = new QemuDriver(${JSON.stringify(options())});
      for (const spec of ${JSON.stringify(specs)}) { await driver.create(spec); await driver.settled(); }
      console.log("ready"); setInterval(() => {}, 1000);`;
    const child = spawn(process.execPath, ["--input-type=module-typescript", "-e", source], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const lines = createInterface({ input: child.stdout });
    const [line] = await Promise.race([once(lines, "line"), once(child, "exit")]);
    expect(line).to.equal("ready");
    const driver = make();
    expect(await driver.reap()).to.deep.equal([]);
    const guests = await readyNames();
    expect(guests).to.have.length(2);
    child.kill("SIGKILL");
    await once(child, "exit");
    expect((await driver.reap()).sort()).to.deep.equal(specs.map(({ id }) => id).sort());
    expect(await names()).to.deep.equal([]);
    for (const name of guests) expect(await pidOf(name)).to.equal(undefined);
    const groups = await readdir("/sys/fs/cgroup").catch(() => []);
    for (const group of ["", ...groups]) {
      const made = await readdir(join("/sys/fs/cgroup", group, "devmesh")).catch(() => []);
      expect(made.filter((name) => guests.includes(name))).to.deep.equal([]);
    }
    expect(await driver.reap()).to.deep.equal([]);
  });
});
