/** Disks that process sandboxes keep ready: each is one sandbox's, and none outlives its owner. */
import { spawn } from "node:child_process";
import { randomInt } from "node:crypto";
import { once } from "node:events";
import { chmodSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import type { Sandbox } from "../../services/vm/drivers/driver.ts";
import { ProcessDriver } from "../../services/vm/drivers/process/process-driver.ts";
import { receiptMismatches } from "../../services/vm/drivers/receipt-check.ts";
import { finish } from "../../services/vm/drivers/suite/harness.ts";
import { mountsWith } from "../e2e/processes.ts";
import { until } from "../e2e/wait.ts";
import { type TempFolder, tempFolder } from "../sdk/temp-folder.ts";

describe("disks kept ready", function () {
  this.timeout(120_000);
  let folder: TempFolder;
  let base: string;
  let driver: ProcessDriver;

  beforeEach(async function () {
    folder = tempFolder();
    chmodSync(folder.path, 0o711);
    base = join(folder.path, "process");
    driver = new ProcessDriver({ stateDir: folder.path, readyDisks: 2 });
    const { available, engine, reason } = await driver.probe();
    if (available && engine.includes("disk image")) return;
    console.log(`    skipped: ${reason || engine}`);
    this.skip();
  });
  afterEach(async () => {
    await Promise.all(driver.list().map((sandbox) => sandbox.delete()));
    await driver.close();
    folder[Symbol.dispose]();
  });

  const specOf = (diskMib: number) => ({
    ...{ id: `sbx_rd${randomInt(1e9)}`, jobId: "job_ready", mounts: [], doors: [] },
    limits: { memoryMib: 64, cpuMillis: 1000, pids: 32, diskMib },
  });
  const ready = () => readdirSync(base).filter((name) => /^sbx_ready\w+$/.test(name));
  const diskOf = (sandbox: Sandbox) =>
    readFileSync("/proc/self/mountinfo", "utf8")
      .split("\n")
      .find((line) => line.includes(`${sandbox.id}/disk `))
      ?.split(" ")[2];

  it("are given to one sandbox each, empty and of the size that was asked for", async () => {
    const first = await driver.create(specOf(24));
    await until("two are ready", () => ready().length === 2 && mountsWith(base).length === 3);
    const made = await Promise.all([24, 24, 24].map((size) => driver.create(specOf(size))));
    const disks = [first, ...made].map(diskOf);
    expect(new Set(disks).size).to.equal(4);
    for (const sandbox of made) {
      expect(receiptMismatches(specOf(24), sandbox.receipt)).to.deep.equal([]);
      const program = await sandbox.exec({
        argv: ["sh", "-c", "ls -A /work /tmp; touch /work/mine && stat -c %u /work"],
        env: {},
      });
      expect((await finish(program)).text).to.equal("/tmp:\n\n/work:\n1000\n");
    }
    const other = await driver.create(specOf(48));
    expect(receiptMismatches(specOf(48), other.receipt)).to.deep.equal([]);
  });

  it("are bounded in their sizes, and gone when the driver is closed", async () => {
    for (const size of [16, 20, 24, 28, 32, 36]) await (await driver.create(specOf(size))).delete();
    await driver.close();
    expect(readdirSync(base).filter((name) => name.startsWith("sbx_"))).to.deep.equal([]);
    expect(mountsWith(base)).to.deep.equal([]);
    await (await driver.create(specOf(16))).delete();
    expect(ready()).to.deep.equal([]);
  });

  it("are removed by the next process where theirs was killed, and count as no sandbox", async () => {
    const module = new URL("../../services/vm/drivers/process/process-driver.ts", import.meta.url);
    const script = `const { ProcessDriver } = await import(${JSON.stringify(module.href)});
      const driver = new ProcessDriver({ stateDir: ${JSON.stringify(folder.path)}, readyDisks: 2 });
      await driver.create(${JSON.stringify({ ...specOf(24), id: "sbx_killed" })});
      setInterval(() => {}, 1000);`;
    const host = spawn(process.execPath, ["--input-type=module", "-e", script], {
      stdio: "ignore",
    });
    await until("two are mounted beside the sandbox", () => mountsWith(base).length === 3);
    host.kill("SIGKILL");
    await once(host, "exit");
    expect(await driver.reap()).to.deep.equal(["sbx_killed"]);
    expect(readdirSync(base).filter((name) => name.startsWith("sbx_"))).to.deep.equal([]);
    expect(mountsWith(base)).to.deep.equal([]);
  });
});
