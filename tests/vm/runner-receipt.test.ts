/** What a job's events and result say of its sandbox: the receipt, the caps that it met, what it used. */
import { JobStatus } from "@devmesh/gen/devmesh/api/v1/job_status_pb";
import { expect } from "chai";
import { Bed } from "./bed.ts";

const { SUCCEEDED, FAILED } = JobStatus;
const mib = 1024 * 1024;

describe("runner", () => {
  let bed: Bed;
  beforeEach(async () => {
    bed = await Bed.open();
  });
  afterEach(() => bed.close());

  it("shows in the events what the kernel holds the sandbox to", async () => {
    bed.start();
    const id = await bed.submit({
      work: { case: "command", value: { argv: ["echo", "x"] } },
      limits: { memoryMib: 64, diskMib: 32, pids: 50, cpuMillis: 500 },
    });
    await bed.ended(id);
    const notes = (await bed.events(id)).flatMap(({ kind }) =>
      kind.case === "note" && kind.value.topic === "sandbox.receipt" ? [kind.value] : [],
    );
    expect(notes).to.have.length(1);
    expect(notes[0]?.message).to.include("memory 64 MiB, CPU 0.5, 50 pids, disk 32 MiB");
    expect(notes[0]?.payload).to.deep.include({
      memoryBytes: { value: 64 * mib, source: "in memory" },
      pids: { value: 50, source: "in memory" },
      cpuMillis: { value: 500, source: "in memory" },
      diskBytes: { value: 32 * mib, source: "in memory" },
    });
  });

  it("takes a cap of 0 for the default", async () => {
    const { driver } = bed.start();
    await bed.ended(
      await bed.submit({
        work: { case: "command", value: { argv: ["echo", "x"] } },
        limits: { memoryMib: 0, diskMib: 0, pids: 0, cpuMillis: 0 },
      }),
    );
    expect(driver.created[0]?.limits).to.deep.equal({
      memoryMib: 1024,
      cpuMillis: 1000,
      pids: 512,
      diskMib: 2048,
    });
  });

  it("runs nothing in a sandbox that is not what was asked for", async () => {
    const { driver } = bed.start();
    driver.receipt = { pids: { value: 99_999, source: "/sys/fs/cgroup/pids.max" } };
    const id = await bed.submit({
      work: { case: "command", value: { argv: ["echo", "it ran"] } },
      maxAttempts: 1,
    });
    const { status, result } = await bed.ended(id);
    expect([status, result?.reason]).to.deep.equal([FAILED, "RECEIPT_MISMATCH"]);
    expect(result?.message).to.include("pids are not 512").and.include("/sys/fs/cgroup/pids.max");
    expect(await bed.log(id)).to.equal("");
    expect(driver.list()).to.deep.equal([]);
  });

  it("tells which cap a failed program has met", async () => {
    const { driver } = bed.start();
    driver.programs.forks = async () => 1;
    driver.programs.fills = async () => 2;
    driver.programs.copes = async () => 0;
    driver.met.forks = ["pids"];
    driver.met.fills = ["pids", "disk"];
    driver.met.copes = ["disk"];
    const ends = [];
    for (const program of ["forks", "fills", "copes"]) {
      const { status, result } = await bed.ended(await bed.command(program));
      ends.push([status, result?.reason, result?.exitCode]);
    }
    expect(ends).to.deep.equal([
      [FAILED, "PIDS_LIMIT", 1],
      [FAILED, "DISK_FULL", 2],
      [SUCCEEDED, "", 0],
    ]);
  });

  it("says in the result what the sandbox used", async () => {
    const { driver } = bed.start();
    driver.used = { cpuMs: 1234.4, throttledMs: 56, peakMemoryBytes: 7 * mib, pidsRefused: 3 };
    const { result } = await bed.ended(await bed.command("echo", "x"));
    expect(result?.usage).to.deep.include({
      cpuMs: 1234n,
      throttledMs: 56n,
      peakMemoryBytes: BigInt(7 * mib),
      pidsRefused: 3n,
      diskBytes: 0n,
    });
  });

  it("judges the work even if what it used cannot be read", async () => {
    const { driver } = bed.start();
    driver.used = new Proxy(
      {},
      {
        ownKeys: () => {
          throw new Error("the cgroup is gone");
        },
      },
    );
    const { status, result } = await bed.ended(await bed.command("echo", "x"));
    expect([status, result?.usage]).to.deep.equal([SUCCEEDED, undefined]);
  });
});
