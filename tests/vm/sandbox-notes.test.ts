/** What a job's events say of its caps: each with who enforces it. */
import { expect } from "chai";
import { FakeDriver } from "../../services/vm/drivers/fake.ts";
import type { SandboxReceipt } from "../../services/vm/drivers/receipt.ts";
import { suiteSpec } from "../../services/vm/drivers/suite/harness.ts";
import { receiptNote } from "../../services/vm/runner/sandbox-notes.ts";

describe("the note of a sandbox's receipt", () => {
  const mib = 1024 * 1024;
  let receipt: SandboxReceipt;
  before(async () => {
    const sandbox = await new FakeDriver({ programs: {} }).create(suiteSpec());
    receipt = {
      ...sandbox.receipt,
      engine: "an engine",
      memoryBytes: { value: 64 * mib, source: "/sys/fs/cgroup/memory.max" },
      cpuMillis: { value: 500, source: "/sys/fs/cgroup/cpu.max" },
      pids: { value: 32, source: "/sys/fs/cgroup/pids.max" },
      diskBytes: { value: 16 * mib, source: "statfs /work" },
    };
  });
  const said = (changes: Partial<SandboxReceipt> = {}) =>
    receiptNote({ id: "sbx_1", receipt: { ...receipt, ...changes } }).message;

  it("names the kernel where it holds all of them", () => {
    expect(said()).to.equal(
      "the kernel holds it to memory 64 MiB, CPU 0.5, 32 pids, disk 16 MiB (an engine)",
    );
  });

  it("says of what a watch holds that a watch does", () => {
    const memoryBytes = { value: 64 * mib, source: "watch (smaps_rollup every 100 ms); …" };
    const diskBytes = { value: 16 * mib, source: "watch (du every 1000 ms); …" };
    expect(said({ memoryBytes, diskBytes })).to.equal(
      "the kernel holds it to CPU 0.5, 32 pids; a watch that looks from time to time holds it to " +
        "memory 64 MiB, disk 16 MiB (an engine)",
    );
  });

  it("says of what nothing holds that nothing does", () => {
    const cpuMillis = { value: 8000, source: "none: all of the host's processors" };
    expect(said({ cpuMillis })).to.include("; nothing holds it to CPU 8 (");
  });
});
