/** The receipt of a process sandbox: printed whole, and the one in the documentation is one of the same form. */
import { readFileSync } from "node:fs";
import { expect } from "chai";
import { ProcessDriver } from "../../services/vm/drivers/process/process-driver.ts";
import type { Measured, SandboxReceipt } from "../../services/vm/drivers/receipt.ts";
import { receiptMismatches } from "../../services/vm/drivers/receipt-check.ts";
import { type TempFolder, tempFolder } from "../sdk/temp-folder.ts";

describe("the receipt of a process sandbox", function () {
  this.timeout(30_000);
  const spec = {
    ...{ id: "sbx_receipt", jobId: "job_receipt", mounts: [], doors: [] },
    limits: { memoryMib: 64, cpuMillis: 500, pids: 32, diskMib: 64 },
  };
  let folder: TempFolder;
  let receipt: SandboxReceipt;

  before(async function () {
    folder = tempFolder();
    const driver = new ProcessDriver({ stateDir: folder.path });
    const { available, engine } = await driver.probe();
    if (!available || !engine.includes("cgroup") || !engine.includes("disk image")) {
      return this.skip();
    }
    const sandbox = await driver.create(spec);
    receipt = sandbox.receipt;
    await sandbox.delete();
  });
  after(() => folder[Symbol.dispose]());

  it("fits what was asked for, value by value from the kernel", () => {
    console.log(JSON.stringify(receipt));
    expect(receiptMismatches(spec, receipt)).to.deep.equal([]);
    expect(receipt.memoryBytes.value).to.equal(64 * 1024 * 1024);
    expect(receipt.cpuMillis.value).to.equal(500);
    const { mounts, namespaces, capabilities } = receipt;
    expect(namespaces.value).to.include.members(["ipc", "mnt", "net", "pid", "user", "uts"]);
    expect(Object.values(capabilities.value).every((set) => /^0+$/.test(set))).to.equal(true);
    const writable = mounts.value.filter(({ options }) => options.startsWith("rw"));
    expect(
      writable.map(({ path }) => path).filter((path) => !/^\/(dev|proc)/.test(path)),
    ).to.have.members(["/work", "/tmp", "/run/devmesh"]);
  });

  it("is what the documentation shows, member for member", () => {
    const page = readFileSync(new URL("../../docs/sandboxes.md", import.meta.url), "utf8");
    const shown: unknown = JSON.parse(/```json\n(\{[\s\S]*?\})\n```/.exec(page)?.[1] ?? "");
    const example = shown as SandboxReceipt;
    expect(receiptMismatches(spec, example)).to.deep.equal([]);
    expect(Object.keys(example)).to.have.members(Object.keys(receipt));
    for (const [name, member] of Object.entries(receipt)) {
      const inExample = (example as unknown as Record<string, unknown>)[name];
      if (typeof member === "string") continue;
      const plain = (source: string) =>
        source
          .replace(/\d+/g, "N")
          .replace(/sbx_\w+/, "ID")
          .replace(/statfs \S+\/ID/, "statfs ID");
      const [ours, theirs] = [member as Measured<unknown>, inExample as Measured<unknown>];
      expect(plain(theirs.source), name).to.equal(plain(ours.source));
    }
  });
});
