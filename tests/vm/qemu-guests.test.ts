/** Guests from one snapshot, real ones: each its own, held to its caps, gone without a trace. */
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { ensureGuest } from "../../deploy/guest/ensure-guest.ts";
import type { Sandbox } from "../../services/vm/drivers/driver.ts";
import { QemuDriver } from "../../services/vm/drivers/qemu/qemu-driver.ts";
import {
  archive,
  finish,
  refusal,
  shell,
  suiteSpec,
  unpack,
} from "../../services/vm/drivers/suite/harness.ts";

const bootMs = 300_000;

describe("guests from a snapshot", function () {
  this.timeout(bootMs);
  let stateDir: string;
  let driver: QemuDriver;

  before(async function () {
    const guest = await ensureGuest();
    if (!guest.ok) {
      if (this.test?.parent) this.test.parent.title += ` (skipped: ${guest.reason})`;
      return this.skip();
    }
    stateDir = await mkdtemp(join(tmpdir(), "devmesh-guests-"));
    driver = new QemuDriver({ stateDir, ...guest.value, accelerator: "tcg" });
  });

  afterEach(async () => {
    if (driver) await Promise.all(driver.list().map((sandbox) => sandbox.delete()));
  });

  after(async () => {
    await driver?.close();
    if (stateDir) await rm(stateDir, { recursive: true, force: true });
  });

  const left = async () => [
    ...(await readdir(join(stateDir, "vms"))),
    ...(await readdir(join(stateDir, "snapshots"))).filter((name) => name.startsWith(".draft")),
    ...(await machines()),
  ];

  /** The QEMUs of this test, by the sandboxes they are for. */
  const machines = async () => {
    const found: string[] = [];
    for (const pid of (await readdir("/proc")).filter((name) => /^\d+$/.test(name))) {
      const line = await readFile(`/proc/${pid}/cmdline`, "latin1").catch(() => "");
      const name = /guest=(sbx_guest\w+)/.exec(line)?.[1];
      if (name) found.push(name);
    }
    return found;
  };

  const spec = (name: string, more = {}) =>
    suiteSpec({ id: `sbx_guest${process.pid}${name}`, ...more });

  it("makes ten in a row, each with its own identity, entropy, boot and a right clock", async () => {
    const seen: Record<string, Set<string>> = {
      machine: new Set(),
      random: new Set(),
      boot: new Set(),
      host: new Set(),
    };
    for (let turn = 0; turn < 10; turn++) {
      const sandbox = await driver.create(spec(`ten${turn}`));
      const from = Date.now();
      const { text } = await shell(
        sandbox,
        `cat /etc/machine-id; head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \\n'; echo
         cat /proc/sys/kernel/random/boot_id /etc/hostname; hostname; date +%s.%N`,
      );
      const to = Date.now();
      const [machine = "", random = "", boot = "", file = "", host = "", date = ""] =
        text.split("\n");
      expect(machine).to.match(/^[0-9a-f]{32}$/);
      expect(file).to.equal(host);
      expect(host).to.include("guest");
      expect(Number(date) * 1000).to.be.within(from - 1000, to + 1000);
      seen.machine?.add(machine);
      seen.random?.add(random);
      seen.boot?.add(boot);
      seen.host?.add(host);
      await sandbox.delete();
    }
    for (const [what, values] of Object.entries(seen)) expect(values.size, what).to.equal(10);
    expect(
      (await readdir(join(stateDir, "snapshots"))).filter((name) => !name.startsWith(".")),
    ).to.have.length(1);
    expect(await left()).to.deep.equal([]);
  });

  it("takes artifacts in, works on them, and gives them out; nothing of it is in the next", async () => {
    const first = await driver.create(spec("one"));
    await first.put(archive([{ name: "in", data: "artifact" }]));
    expect((await shell(first, "tr a-z A-Z <in >out && cat out")).text).to.equal("ARTIFACT");
    expect((await unpack(await first.get())).get("out")?.data.toString()).to.equal("ARTIFACT");
    await first.delete();
    const second = await driver.create(spec("two"));
    expect((await unpack(await second.get())).size).to.equal(0);
  });

  it("says what its kernel holds it to, with the place where it says so", async () => {
    const limits = { memoryMib: 256, cpuMillis: 500, pids: 77, diskMib: 96 };
    const { receipt } = await driver.create(spec("receipt", { limits }));
    expect(receipt.memoryBytes).to.deep.equal({
      value: 256 << 20,
      source: "guest:/sys/fs/cgroup/job/memory.max",
    });
    expect(receipt.cpuMillis.value).to.equal(500);
    expect(receipt.pids.value).to.equal(77);
    expect(receipt.diskBytes.value).to.be.within(80 << 20, 96 << 20);
    expect(receipt.uid.value).to.equal(1000);
    expect(receipt.readOnlyRoot.value).to.equal(true);
    expect(receipt.interfaces.value).to.deep.equal(["lo"]);
    expect(receipt.engine).to.match(/^QEMU \d+\.\S+ \(TCG\); on the host user \d+, seccomp/);
  });

  it("counts what it uses, stands still and goes on with a right clock", async () => {
    const sandbox = await driver.create(spec("still"));
    const before = await sandbox.stats();
    await shell(
      sandbox,
      "i=0; while [ $i -lt 3000 ]; do i=$((i+1)); done; head -c 2000000 /dev/zero >fill",
    );
    const after = await sandbox.stats();
    expect(after.cpuMs).to.be.greaterThan(before.cpuMs);
    expect(after.diskBytes - before.diskBytes).to.be.greaterThan(1_900_000);
    const running = await sandbox.exec({ argv: ["sh", "-c", "sleep 1; date +%s.%N"], env: {} });
    await sandbox.freeze();
    await sandbox.freeze();
    const waits = finish(running);
    const early = await Promise.race([
      waits,
      new Promise((done) => setTimeout(done, 2500, "frozen")),
    ]);
    expect(early).to.equal("frozen");
    const from = Date.now();
    await sandbox.resume();
    await sandbox.resume();
    const { text } = await shell(sandbox, "date +%s.%N");
    expect(Number(text) * 1000).to.be.within(from - 1000, Date.now() + 1000);
    expect((await waits).exitCode).to.equal(0);
  });

  it("is deleted while it stands still, and while it is restored", async () => {
    const frozen = await driver.create(spec("frozen"));
    await frozen.freeze();
    await frozen.delete();
    const stop = new AbortController();
    const half = refusal(driver.create(spec("half"), stop.signal));
    setImmediate(() => stop.abort());
    expect(await half).to.equal("CANCELLED");
    expect(driver.list()).to.deep.equal([]);
    expect(await left()).to.deep.equal([]);
  });

  it("tells which cap a program met", async () => {
    const limits = { memoryMib: 256, cpuMillis: 1000, pids: 20, diskMib: 96 };
    const sandbox = await driver.create(spec("caps", { limits }));
    const forks = await shell(sandbox, "for i in $(seq 40); do sleep 5 & done 2>/dev/null; exit 1");
    expect(forks.met).to.deep.equal(["pids"]);
    const fills = await shell(sandbox, "head -c 200000000 /dev/zero >fill");
    expect(fills.met).to.deep.equal(["disk"]);
    expect((await shell(sandbox, "rm fill; exit 3")).met ?? []).to.deep.equal([]);
  });

  it("starts from a snapshot made anew when the one on disk was changed", async () => {
    await (await driver.create(spec("before"))).delete();
    await driver.close();
    const folder = join(stateDir, "snapshots");
    const [key = ""] = (await readdir(folder)).filter((name) => !name.startsWith("."));
    const bytes = await readFile(join(folder, key, "memory"));
    bytes.fill(0xff, 1 << 20, 2 << 20);
    await writeFile(join(folder, key, "memory"), bytes);
    const sandbox: Sandbox = await driver.create(spec("after"));
    expect((await shell(sandbox, "echo well")).text).to.equal("well\n");
    expect((await readFile(join(folder, key, "memory"))).equals(bytes)).to.equal(false);
  });
});
