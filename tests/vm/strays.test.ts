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

  const newSandbox = () =>
    driver.create({
      id: `sbx_stray${randomInt(1e9)}`,
      jobId: "job_stray",
      limits: { memoryMib: 64, cpuMillis: 1000, pids: 32, diskMib: 16 },
      mounts: [],
      doors: [],
    });

  it("are not left by a start that is aborted at any moment", async () => {
    for (let delayMs = 0; delayMs < 24; delayMs++) {
      const sandbox = await newSandbox();
      const started = sandbox.exec(
        { argv: ["sleep", "900"], env: {} },
        AbortSignal.timeout(delayMs),
      );
      // Refused, or quicker than the abort.
      await started.catch(() => {});
      await sandbox.delete();
      expect(processesWith(sandbox.id), `aborted after ${delayMs} ms`).to.deep.equal([]);
    }
  });

  it("are not left when bubblewrap itself is killed as soon as it is there", async () => {
    for (let round = 0; round < 10; round++) {
      const sandbox = await newSandbox();
      const started = sandbox.exec({ argv: ["sleep", "900"], env: {} });
      const settled = started.then(
        () => {},
        () => {},
      );
      const first = await until("bubblewrap is there", () => processesWith(sandbox.id)[0]);
      process.kill(first, "SIGKILL");
      await settled;
      await sandbox.delete();
      expect(processesWith(sandbox.id)).to.deep.equal([]);
    }
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
    const id = `sbx_stray${randomInt(1e9)}`;
    const args = ["--unshare-user", "--ro-bind", "/", "/", "--setenv", "A", `/x/${id}/y`];
    const own = spawn("bwrap", [...args, "sleep", "900"], { stdio: "ignore" });
    const line = ["bwrap", ...args, "sleep", "900"].join(" ");
    const orphaned = spawn("sh", ["-c", `${line} >/dev/null 2>&1 & sleep 0.2`], {
      stdio: "ignore",
    });
    await once(orphaned, "exit");
    const before = processesWith(id);
    expect(before).to.include(own.pid);
    expect(before.length).to.be.greaterThan(1);
    await endStrays("bwrap", id);
    const left = processesWith(id);
    expect(left).to.include(own.pid);
    expect(left.length).to.be.lessThan(before.length);
    own.kill("SIGKILL");
    await once(own, "exit");
    await endStrays("bwrap", id);
    expect(processesWith(id)).to.deep.equal([]);
  });
});
