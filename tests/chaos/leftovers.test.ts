/** The verifier of leftovers can fail: a thing of each kind is planted, and told. */
import { execFileSync, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import Docker from "dockerode";
import { ChaosEngine, engineKinds } from "../../chaos/engine.ts";
import { findLeftovers, leftoverKinds } from "../../chaos/leftovers.ts";
import { need } from "../parts/need.ts";

describe("the leftovers of a chaos run", function () {
  this.timeout(120_000);
  const run = `t${process.pid.toString(16)}`;
  const undo: (() => unknown)[] = [];
  let folder: string;
  let stateDir: string;

  beforeEach(() => {
    folder = realpathSync(mkdtempSync(join(tmpdir(), "devmesh-left-")));
    stateDir = join(folder, "data", "vm");
    mkdirSync(stateDir, { recursive: true });
    undo.push(() => rmSync(folder, { recursive: true, force: true }));
  });
  afterEach(async () => {
    for (const step of undo.splice(0).reverse()) await step();
  });

  const find = (sandboxes: string[] = [], pids: number[] = []) =>
    findLeftovers({ run, folder, stateDirs: [stateDir], sandboxes, pids });
  const kindsOf = (lines: readonly string[]) =>
    leftoverKinds.filter((kind) => lines.some((line) => line.startsWith(`${kind} `)));

  async function start(file: string, args: string[], env: Record<string, string>, held?: string) {
    const input = held === undefined ? "ignore" : openSync(held, "r");
    const child = spawn(file, args, { env, stdio: [input, "pipe", "ignore"] });
    await once(child, "spawn");
    undo.push(async () => {
      const ended = once(child, "exit");
      child.kill("SIGKILL");
      await ended;
    });
  }

  it("are none where nothing is left", () => {
    expect(find(["sbx_1"], [process.pid])).to.deep.equal([]);
  });

  for (const [what, env, held] of [
    ["its environment", { DEVMESH_CHAOS_RUN: `t${process.pid.toString(16)}` }, false],
    ["a file that it holds", {}, true],
  ] as const) {
    it(`have a process that is told by ${what}`, async () => {
      const path = join(folder, "held");
      writeFileSync(path, "");
      await start("sleep", ["600"], { ...env }, held ? path : undefined);
      expect(kindsOf(find())).to.deep.equal(["process"]);
    });
  }

  it("have a virtual machine, which names no path", async () => {
    const path = join(folder, "disk");
    writeFileSync(path, "");
    const child = spawn("sleep", ["600"], {
      argv0: "/usr/bin/qemu-system-x86_64",
      env: {},
      stdio: [openSync(path, "r"), "ignore", "ignore"],
    });
    await once(child, "spawn");
    undo.push(() => child.kill("SIGKILL"));
    expect(kindsOf(find())).to.deep.equal(["virtual machine"]);
  });

  for (const path of [
    ...["process/sbx_1", "docker/sbx_1", "docker/sbx_warm1x2", "vms/sbx_1", "vms/own_1"],
    ...["gvisor/sbx_1", "firecracker/sbx_1", "runs/job_1-1"],
  ]) {
    it(`have the folder ${path}`, () => {
      mkdirSync(join(stateDir, path), { recursive: true });
      expect(find()).to.deep.equal([`folder ${join(stateDir, path)}`]);
    });
  }

  for (const path of [
    ...["snapshots/.draft-1", "mounts/.12.ab", "vms/.12.ab", "journal/12-ab.jsonl.new"],
    "docker/templates/ext4-64.img.12-34",
  ]) {
    it(`have the half ${path}`, () => {
      mkdirSync(join(stateDir, path), { recursive: true });
      expect(find()).to.deep.equal([`draft ${join(stateDir, path)}`]);
    });
  }

  it("have the door of a part that is gone", () => {
    const door = join(tmpdir(), `dm-door-999999998.1.${run}`);
    mkdirSync(door);
    undo.push(() => rmSync(door, { recursive: true }));
    expect(find([], [999_999_998])).to.deep.equal([`door ${door}`]);
    expect(find([], [999_999_997])).to.deep.equal([]);
  });

  it("have mounts, loop devices and control groups", function () {
    if (process.getuid?.() !== 0 || !existsSync("/dev/loop-control")) {
      console.log("      skipped: only root mounts images");
      return this.skip();
    }
    const image = join(folder, "disk.img");
    const disk = join(folder, "disk");
    mkdirSync(disk);
    execFileSync("truncate", ["--size", "8M", image]);
    execFileSync("mkfs.ext4", ["-q", "-F", image]);
    execFileSync("mount", ["-o", "loop", image, disk]);
    undo.push(() => execFileSync("umount", [disk]));
    expect(kindsOf(find())).to.deep.equal(["mount", "loop device"]);
    // Where a state folder cannot be entered by others, its sandboxes lie elsewhere.
    const digest = createHash("sha256").update(join(stateDir, "process")).digest("hex");
    const step = `/run/devmesh-${digest.slice(0, 16)}`;
    mkdirSync(join(step, "sbx_1"), { recursive: true });
    undo.push(() => rmSync(step, { recursive: true }));
    expect(kindsOf(find())).to.include("folder");
    const root = ["/sys/fs/cgroup/devmesh", "/sys/fs/cgroup/pids/devmesh"].find((path) =>
      existsSync(path),
    );
    if (root === undefined) return;
    const group = join(root, `sbx_${run}`);
    mkdirSync(group);
    undo.push(() => execFileSync("rmdir", [group]));
    expect(find([`sbx_${run}`]).filter((line) => line.startsWith("control group"))).to.have.length(
      1,
    );
    expect(kindsOf(find())).to.not.include("control group");
  });

  it("have containers, networks, namespaces, volumes and images of an engine", async function () {
    const home = join(folder, "engine");
    mkdirSync(home);
    const started = await ChaosEngine.start(home, () => {});
    const engine = need(this, started);
    undo.push(() => engine.stop());
    expect(await engine.left()).to.deep.equal([]);
    const docker = new Docker({ socketPath: engine.socketPath, host: undefined });
    const container = await docker.createContainer({
      Image: engine.image,
      Cmd: ["sleep", "600"],
      HostConfig: { NetworkMode: "none" },
    });
    await container.start();
    const network = await docker.createNetwork({ Name: "left", Driver: "bridge", Internal: true });
    undo.push(() => network.remove());
    await docker.createVolume({ Name: "left" });
    await container.commit({ repo: "left", tag: "one" });
    const left = await engine.left();
    const kinds = engineKinds.filter((kind) => left.some((line) => line.startsWith(`${kind} `)));
    expect(kinds, left.join("\n")).to.deep.equal(engineKinds);
    await container.remove({ force: true });
  });
});
