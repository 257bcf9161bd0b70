/** Receipts: every sandbox has one, it fits what was asked for, and its values are the kernel's. */
import { DevmeshError } from "@devmesh/mesh/errors";
import { expect } from "chai";
import type { Measured, SandboxReceipt } from "../receipt.ts";
import { receiptMismatches, requireReceipt } from "../receipt-check.ts";
import { needs, type SuiteContext, shell, suiteSpec } from "./harness.ts";

/** Defines the tests of `Sandbox.receipt` and `stats`. */
export function receiptTests(context: SuiteContext): void {
  describe("receipt", () => {
    it("says where each value was read, and fits the request", async () => {
      const { driver } = context.subject();
      const spec = suiteSpec();
      const sandbox = await driver.create(spec);
      const { receipt } = sandbox;
      expect(receiptMismatches(spec, receipt)).to.deep.equal([]);
      expect(receipt).to.include({ driver: driver.name, isolation: driver.isolation });
      expect(receipt.engine).to.not.equal("");
      for (const [name, member] of Object.entries(receipt)) {
        if (typeof member === "string") continue;
        const { source } = member as Measured<unknown>;
        expect(source, name).to.be.a("string").and.not.equal("");
      }
    });

    it("differs with the request", async () => {
      const { driver } = context.subject();
      const [small, large] = [
        { memoryMib: 192, cpuMillis: 500, pids: 512, diskMib: 32 },
        { memoryMib: 320, cpuMillis: 1500, pids: 600, diskMib: 96 },
      ];
      const one = await driver.create(suiteSpec({ limits: small }));
      const two = await driver.create(suiteSpec({ limits: large }));
      expect(receiptMismatches(suiteSpec({ limits: small }), one.receipt)).to.deep.equal([]);
      expect(receiptMismatches(suiteSpec({ limits: large }), two.receipt)).to.deep.equal([]);
      expect(receiptMismatches(suiteSpec({ limits: large }), one.receipt)).to.have.length(4);
    });

    it("tells what a program in the sandbox finds as well", async function () {
      needs(context, "hardening", this);
      const sandbox = await context.subject().driver.create(suiteSpec());
      const { receipt } = sandbox;
      const { text } = await shell(
        sandbox,
        `stat -f -c '%b %S' /work; cat /proc/net/dev | grep -c :; (: > /devmesh-written) 2>/dev/null || echo read-only`,
      );
      const [disk = "", interfaces, root] = text.trim().split("\n");
      const [blocks = 0, size = 0] = disk.split(" ").map(Number);
      expect(receipt.diskBytes.value).to.equal(blocks * size);
      expect(receipt.interfaces.value).to.have.length(Number(interfaces));
      expect(root).to.equal("read-only");
      expect(receipt.readOnlyRoot.value).to.equal(true);
    });

    it("is refused where one value is not what was asked for", async () => {
      const spec = suiteSpec();
      const { receipt } = await context.subject().driver.create(spec);
      const source = "a forgery";
      const forged: Partial<SandboxReceipt>[] = [
        { memoryBytes: { value: receipt.memoryBytes.value * 2, source } },
        { cpuMillis: { value: 0, source } },
        { pids: { value: Number.MAX_SAFE_INTEGER, source } },
        { diskBytes: { value: 2 ** 50, source } },
        { uid: { value: 0, source } },
        { noNewPrivileges: { value: false, source } },
        { seccomp: { value: false, source } },
        { interfaces: { value: ["lo", "eth0"], source } },
        { readOnlyRoot: { value: false, source } },
      ];
      for (const part of forged) {
        const attempt = () => requireReceipt(spec, { ...receipt, ...part });
        expect(attempt, JSON.stringify(part))
          .to.throw(DevmeshError)
          .with.property("reason", "RECEIPT_MISMATCH");
      }
    });

    it("counts what is used", async function () {
      needs(context, "hardening", this);
      const sandbox = await context.subject().driver.create(suiteSpec());
      const before = await sandbox.stats();
      await shell(
        sandbox,
        "dd if=/dev/zero of=/work/used bs=1048576 count=20 2>/dev/null; i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done",
      );
      const after = await sandbox.stats();
      expect(after.cpuMs).to.be.greaterThan(before.cpuMs);
      expect(after.diskBytes - before.diskBytes).to.be.within(20_000_000, 30_000_000);
      expect(after.memoryBytes).to.be.greaterThan(0);
      expect(after.peakMemoryBytes).to.be.at.least(before.peakMemoryBytes);
      expect(after.pids).to.be.at.least(0);
    });
  });
}
