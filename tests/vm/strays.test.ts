/** bubblewraps that are killed while they set up, or whose parent is: nothing of them goes on. */
import { spawn } from "node:child_process";
import { randomInt } from "node:crypto";
import { once } from "node:events";
import { chmodSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import { ProcessDriver } from "../../services/vm/drivers/process/process-driver.ts";
import { endStrays } from "../../services/vm/drivers/process/strays.ts";
import { mountsWith, processesWith } from "../e2e/processes.ts";
import { until } from "../e2e/wait.ts";
import { type TempFolder, tempFolder } from "../sdk/temp-folder.ts";

describe("strays of bubblewrap", function () {
  this.timeout(120_000);
  let folder: TempFolder;
  let driver: ProcessDriver;

  before(async function () {
    folder = tempFolder();
    chmodSync(folder.path, 0o711);
    driver = new ProcessDriver({ stateDir: folder.path });
    const { available, reason } = await driver.probe();
    if (available) return;
    console.log(`    skipped: ${reason}`);
    this.skip();
  });
  after(() => folder[Symbol.dispose]());

  const newSandbox = (id: string, signal?: AbortSignal) => {
    const limits = { memoryMib: 64, cpuMillis: 1000, pids: 32, diskMib: 16 };
    return driver.create({ id, jobId: "job_stray", limits, mounts: [], doors: [] }, signal);
  };
  const newId = () => `sbx_stray${randomInt(1e9)}`;
  const nothingLeft = (id: string, why: string) => {
    expect(processesWith(id), why).to.deep.equal([]);
    expect(mountsWith(id), why).to.deep.equal([]);
    expect(readdirSync(join(folder.path, "process")).filter((name) => name.includes(id))).to.be
      .empty;
  };

  it("are not left by a start that is aborted at any moment", async () => {
    for (let delayMs = 0; delayMs < 72; delayMs += 3) {
      const id = newId();
      const started = newSandbox(id, AbortSignal.timeout(delayMs));
      // Refused, or quicker than the abort.
      const sandbox = await started.catch(() => undefined);
      await sandbox?.delete();
      nothingLeft(id, `aborted after ${delayMs} ms`);
    }
    expect(driver.list()).to.deep.equal([]);
  });

  it("are not left when bubblewrap itself is killed as soon as it is there", async () => {
    for (let round = 0; round < 10; round++) {
      const id = newId();
      const settled = newSandbox(id).catch(() => undefined);
      const first = await until("bubblewrap is there", () => processesWith(id)[0]);
      process.kill(first, "SIGKILL");
      await (await settled)?.delete();
      nothingLeft(id, `round ${round}`);
    }
  });

  it("are not left when bubblewrap is killed under its programs", async () => {
    const id = newId();
    const sandbox = await newSandbox(id);
    const program = await sandbox.exec({ argv: ["sleep", "900"], env: {} });
    for (const pid of processesWith(id)) process.kill(pid, "SIGKILL");
    const ended: unknown = await program.exit.catch((error: unknown) => error);
    expect(ended).to.have.property("reason", "SANDBOX_FAILED");
    const refused: unknown = await sandbox
      .exec({ argv: ["true"], env: {} })
      .catch((error: unknown) => error);
    expect(refused).to.have.property("reason", "SANDBOX_FAILED");
    await sandbox.delete();
    nothingLeft(id, "killed");
  });

  it("nor is the disk of a host that was killed while it tried what it can mount", async () => {
    const base = join(folder.path, "process");
    const module = new URL("../../services/vm/drivers/work-disk.ts", import.meta.url).href;
    const script = `(await import(${JSON.stringify(module)})).findDiskKind(${JSON.stringify(base)})`;
    const host = spawn(process.execPath, ["--input-type=module", "-e", script], {
      stdio: "ignore",
    });
    const disks = () => readdirSync(base).filter((name) => name.startsWith("sbx_disk"));
    await until(
      "the disk is there",
      () => disks().some((name) => mountsWith(name).length > 0) || host.exitCode !== null,
    );
    host.kill("SIGKILL");
    if (host.exitCode === null && host.signalCode === null) await once(host, "exit");
    await driver.reap();
    expect(disks()).to.deep.equal([]);
    expect(mountsWith("sbx_disk").filter((line) => line.includes(base))).to.deep.equal([]);
  });

  it("are ended, and what descends from this process is not", async () => {
    const id = newId();
    const args = ["--unshare-user", "--ro-bind", "/", "/", "--setenv", "A", `/x/${id}/y`];
    const own = spawn("bwrap", [...args, "sleep", "900"], { stdio: "ignore" });
    const line = ["bwrap", ...args, "sleep", "900"].join(" ");
    // As it is after its start: a resident that bears the sandbox's name.
    const resident = `perl -e '$0 = shift; sleep 900' 'agent ${id}'`;
    const script = `${line} >/dev/null 2>&1 & ${resident} >/dev/null 2>&1 & sleep 0.2`;
    const orphaned = spawn("sh", ["-c", script], { stdio: "ignore" });
    await once(orphaned, "exit");
    const before = processesWith(id);
    expect(before).to.include(own.pid);
    expect(before.length).to.be.greaterThan(2);
    await endStrays("bwrap", id);
    const left = processesWith(id);
    expect(left).to.include(own.pid);
    expect(left.length).to.be.lessThan(before.length - 1);
    own.kill("SIGKILL");
    await once(own, "exit");
    await endStrays("bwrap", id);
    expect(processesWith(id)).to.deep.equal([]);
  });
});
