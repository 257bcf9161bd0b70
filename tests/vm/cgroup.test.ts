/** Control groups: what is set is read back, on this host's kernel and from version 2's files. */
import { spawn } from "node:child_process";
import { randomInt } from "node:crypto";
import { once } from "node:events";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect } from "chai";
import {
  type Cgroup,
  type CgroupHost,
  cgroupHosts,
  cgroupOf,
  findCgroups,
  groupFolders,
  openGroup,
} from "../../services/vm/drivers/cgroup.ts";
import { noLimit } from "../../services/vm/drivers/cgroup-files.ts";
import { until } from "../e2e/wait.ts";
import { type TempFolder, tempFolder } from "../sdk/temp-folder.ts";

const limits = { memoryMib: 64, cpuMillis: 500, pids: 8, diskMib: 16 };

describe("a control group of this host", function () {
  this.timeout(30_000);
  let host: CgroupHost;
  let group: Cgroup;

  before(async function () {
    const found = await findCgroups();
    if (found === undefined) return this.skip();
    host = found;
  });
  beforeEach(async () => {
    group = await host.create(`test-${process.pid}-${randomInt(1e9)}`, limits);
  });
  afterEach(() => group?.remove());

  const inside = async (script: string) => {
    // Waits to be moved before it does anything.
    const child = spawn("sh", ["-c", `read go; ${script}`], { stdio: ["pipe", "pipe", "ignore"] });
    if (child.pid === undefined) throw new Error("sh does not start");
    await group.add(child.pid);
    child.stdin.end("go\n");
    return child;
  };

  it("shows the limits that hold, each with its file", async () => {
    const read = await group.limits();
    expect(read.memoryBytes.value).to.equal(64 * 1024 * 1024);
    expect(read.cpuMillis.value).to.equal(500);
    expect(read.pids.value).to.equal(8);
    expect(read.memoryAndSwapBytes?.value ?? 0).to.be.at.most(64 * 1024 * 1024);
    for (const { source } of [read.memoryBytes, read.pids]) {
      expect(readFileSync(source, "utf8").trim()).to.match(/^\d+$/);
    }
  });

  it("is ended but for one process, though the others start more and more", async () => {
    const kept = await inside("exec sleep 60");
    const bomb = await inside("exec perl -e 'fork while 1'");
    const { pid = 0 } = kept;
    await until("the cap is met", async () => (await group.pidsRefused()) > 0);
    await group.endAllBut(pid);
    expect(await group.processes()).to.deep.equal([pid]);
    expect((await group.limits()).pids.value).to.equal(8);
    if (bomb.exitCode === null && bomb.signalCode === null) await once(bomb, "exit");
    expect(bomb.signalCode).to.equal("SIGKILL");
    kept.kill("SIGKILL");
  });

  it("has room to die in when its end is near, and starts nothing more", async () => {
    await group.easeEnd();
    const read = await group.limits();
    expect(read.memoryBytes.value).to.equal((64 + 256) * 1024 * 1024);
    expect([read.cpuMillis.value, read.pids.value]).to.deep.equal([noLimit, 0]);
    await group.remove();
    await group.easeEnd();
  });

  it("is given another share of the processors, also behind all others", async () => {
    const { source } = (await group.limits()).cpuMillis;
    for (const [share, behind] of [
      [250, true],
      [1500, false],
    ] as const) {
      await group.holdCpu(share, behind);
      expect((await group.limits()).cpuMillis.value).to.equal(share);
      const folder = dirname(source);
      const weight = ["cpu.weight", "cpu.shares"]
        .map((name) => join(folder, name))
        .find(existsSync);
      expect(Number(readFileSync(weight ?? "", "utf8")) < 100).to.equal(behind);
    }
  });

  it("is found by a process that is in it", async () => {
    const child = await inside("sleep 60");
    const found = await cgroupOf(child.pid ?? 0);
    expect(await found.limits()).to.deep.equal(await group.limits());
    expect(await found.processes()).to.include(child.pid);
  });

  it("counts what it uses and what its cap on processes refused", async () => {
    const child = await inside(
      "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 60 & done 2>&1; echo done; wait",
    );
    await until("it could not fork", async () => (await group.pidsRefused()) > 0);
    const usage = await group.usage();
    expect(usage.pids).to.be.within(2, 8);
    expect(usage.pidsRefused).to.be.greaterThan(0);
    expect(usage.cpuMs).to.be.greaterThan(0);
    expect(usage.peakMemoryBytes).to.be.at.least(usage.memoryBytes);
    expect(usage.memoryBytes).to.be.greaterThan(0);
    child.kill("SIGKILL");
  });

  it("is frozen, let go, and removed while it is frozen", async function () {
    if (!group.canFreeze) return this.skip();
    const child = await inside("while :; do echo tick; sleep 0.01; done");
    await once(child.stdout, "data");
    await group.freeze();
    const before = (await group.usage()).cpuMs;
    child.stdout.resume();
    expect((await group.usage()).cpuMs).to.equal(before);
    await group.thaw();
    await until("it runs again", async () => (await group.usage()).cpuMs > before);
    await group.freeze();
    const exit = once(child, "exit");
    await group.remove();
    await exit;
    expect(await group.processes()).to.deep.equal([]);
    await group.thaw();
  });
});

describe("a control group of version 2", () => {
  let folder: TempFolder;
  beforeEach(() => {
    folder = tempFolder();
  });
  afterEach(() => folder[Symbol.dispose]());

  /** A group as the kernel's documentation shows it. */
  const fixture = (files: Readonly<Record<string, string>>) => {
    for (const [name, text] of Object.entries(files)) writeFileSync(join(folder.path, name), text);
    return openGroup({ version: 2, folder: folder.path });
  };

  it("is given another share of the processors, also behind all others", async () => {
    const group = fixture({ "cpu.max": "50000 100000\n", "cpu.weight": "" });
    const read = (name: string) => readFileSync(join(folder.path, name), "utf8").split("\n")[0];
    await group.holdCpu(1250, true);
    expect([read("cpu.max"), Number.parseInt(read("cpu.weight") ?? "", 10)]).to.deep.equal([
      "125000 100000",
      6,
    ]);
  });

  it("is made with every limit, and shows them", async () => {
    const mounts = `cgroup2 ${folder.path} cgroup2 rw,nosuid 0 0\n`;
    const [host] = cgroupHosts(mounts);
    expect(host?.name).to.equal("cgroup v2");
    const group = await host?.create("sbx_a", limits);
    const made = join(folder.path, "devmesh", "sbx_a");
    expect(readFileSync(join(folder.path, "cgroup.subtree_control"), "utf8")).to.include("+pids");
    // Swap is bounded only where the kernel has the file for it.
    writeFileSync(join(made, "memory.swap.max"), "max\n");
    expect((await group?.limits())?.memoryAndSwapBytes?.value).to.equal(noLimit);
    writeFileSync(join(made, "memory.swap.max"), "");
    await host?.create("sbx_a", limits);
    expect(await group?.limits()).to.deep.equal({
      memoryBytes: { value: 64 * 1024 * 1024, source: join(made, "memory.max") },
      memoryAndSwapBytes: { value: 64 * 1024 * 1024, source: join(made, "memory.swap.max") },
      cpuMillis: { value: 500, source: join(made, "cpu.max") },
      pids: { value: 8, source: join(made, "pids.max") },
    });
  });

  it("says of no limit that there is none", async () => {
    const group = fixture({
      "memory.max": "max\n",
      "cpu.max": "max 100000\n",
      "pids.max": "max\n",
    });
    const read = await group.limits();
    expect([read.memoryBytes.value, read.cpuMillis.value, read.pids.value]).to.deep.equal([
      ...[noLimit, noLimit, noLimit],
    ]);
    expect(read).not.to.have.property("memoryAndSwapBytes");
  });

  it("refuses to read a limit that is no number", async () => {
    const group = fixture({ "memory.max": "", "cpu.max": "max 100000\n", "pids.max": "4\n" });
    const error: unknown = await group.limits().catch((reason: unknown) => reason);
    expect(String(error)).to.include("memory.max");
  });

  it("shows its use and what its caps did", async () => {
    const group = fixture({
      "cpu.stat": "usage_usec 2500\nuser_usec 2000\nsystem_usec 500\nthrottled_usec 1500\n",
      "memory.current": "4096\n",
      "memory.peak": "8192\n",
      "memory.events": "low 0\nhigh 0\nmax 7\noom 2\noom_kill 1\noom_group_kill 0\n",
      "pids.current": "3\n",
      "pids.events": "max 5\n",
      "cgroup.procs": "12\n13\n",
    });
    expect(await group.usage()).to.deep.equal({
      ...{ cpuMs: 2.5, throttledMs: 1.5, memoryBytes: 4096, peakMemoryBytes: 8192 },
      ...{ pids: 3, pidsRefused: 5 },
    });
    expect(await group.oomKills()).to.equal(1);
    expect(await group.pidsRefused()).to.equal(5);
    expect(await group.processes()).to.deep.equal([12, 13]);
  });

  it("has room to die in when its end is near", async () => {
    const group = fixture({
      "memory.max": "4096\n",
      "cpu.max": "5000 100000\n",
      "pids.max": "4\n",
    });
    await group.easeEnd();
    const read = await group.limits();
    expect(read.memoryBytes.value).to.equal(4096 + 256 * 1024 * 1024);
    expect([read.cpuMillis.value, read.pids.value]).to.deep.equal([noLimit, 0]);
  });

  it("is frozen when the kernel says so, not when it is asked", async () => {
    const group = fixture({ "cgroup.freeze": "0\n", "cgroup.events": "populated 1\nfrozen 0\n" });
    let isFrozen = false;
    const freezing = group.freeze().then(() => {
      isFrozen = true;
    });
    await until("it was asked", () =>
      readFileSync(join(folder.path, "cgroup.freeze"), "utf8").startsWith("1"),
    );
    expect(isFrozen).to.equal(false);
    writeFileSync(join(folder.path, "cgroup.events"), "populated 1\nfrozen 1\n");
    await freezing;
  });

  it("is found among the mounts of a container as well", () => {
    const mountinfo = "30 29 0:26 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
    expect(groupFolders("0::/docker/abc/inner\n", mountinfo)).to.deep.equal({
      version: 2,
      folder: "/sys/fs/cgroup/inner",
    });
    const v1 = ["memory", "cpu", "pids"]
      .map((name, at) => `${at} 29 0:26 / /cg/${name} rw - cgroup cgroup rw,${name}`)
      .join("\n");
    const groups = "4:memory:/docker/x\n3:pids:/docker/x\n2:cpu,cpuacct:/docker/y\n0::/docker/x\n";
    expect(groupFolders(groups, v1)).to.deep.include({
      ...{ version: 1, memory: "/cg/memory/docker/x", cpu: "/cg/cpu/docker/y" },
      pids: "/cg/pids/docker/x",
    });
    expect(groupFolders("4:cpuset:/\n", v1)).to.equal(undefined);
  });

  it("gone, has killed nothing and holds nobody", async () => {
    mkdirSync(join(folder.path, "gone"));
    const group = openGroup({ version: 2, folder: join(folder.path, "gone") });
    expect([await group.oomKills(), await group.pidsRefused()]).to.deep.equal([0, 0]);
    expect(await group.processes()).to.deep.equal([]);
    await group.thaw();
    await group.remove();
  });
});
