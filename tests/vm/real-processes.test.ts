/** What a stop does to real processes: what they are sent, that they are gone, and what is told of it. */
import { randomInt } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { durationMs } from "@bufbuild/protobuf/wkt";
import type { Job } from "@devmesh/gen/devmesh/api/v1/job_pb";
import { JobStatus } from "@devmesh/gen/devmesh/api/v1/job_status_pb";
import { expect } from "chai";
import { ProcessDriver } from "../../services/vm/drivers/process/process-driver.ts";
import { processesWith } from "../e2e/processes.ts";
import { Bed } from "./bed.ts";

describe("a stop of real processes", function () {
  this.timeout(60_000);
  let bed: Bed;
  let folder: string;
  let driver: ProcessDriver;

  before(async function () {
    folder = await mkdtemp(join(tmpdir(), "dm-cancel-"));
    driver = new ProcessDriver({ stateDir: folder });
    const { available, reason, remedy } = await driver.probe();
    if (available) return;
    console.log(`      skipped: ${reason}; ${remedy}`);
    this.skip();
  });
  after(() => rm(folder, { recursive: true, force: true }));
  beforeEach(async () => {
    bed = await Bed.open();
  });
  afterEach(() => bed.close());

  /** Runs a script until it says `ready`, cancels it, and answers the job at its end. */
  async function cancelled(script: string, graceMs: number): Promise<Job> {
    bed.startReal(driver, graceMs);
    const id = await bed.command("sh", "-c", script);
    await bed.until(async () => (await bed.log(id)).includes("ready"));
    await bed.jobs.cancelJob({ id });
    return bed.ended(id);
  }

  const namesOf = ({ result }: Job) => result?.cancel?.steps.map(({ name }) => name);

  it("ends what is silent for too long", async () => {
    bed.startReal(driver, 300);
    const marker = `marker-${randomInt(1e9)}`;
    const argv = ["sh", "-c", `echo ready; sleep 600 # ${marker}`];
    const id = await bed.submit({
      work: { case: "command", value: { argv } },
      limits: { silenceTimeout: { seconds: 2n } },
    });
    const { status, result } = await bed.ended(id);
    expect([status, result?.reason]).to.deep.equal([JobStatus.FAILED, "SILENT"]);
    expect(result?.message).to.include("2 s");
    expect(await bed.log(id)).to.match(/^ready\n/);
    expect(processesWith(marker)).to.deep.equal([]);
  });

  it("reaches the code by SIGTERM, which ends as it likes within its grace", async () => {
    const marker = `marker-${randomInt(1e9)}`;
    const script = `trap 'echo cleaned up; exit 7' TERM; echo ready; while :; do sleep 0.05; done # ${marker}`;
    const job = await cancelled(script, 30_000);
    expect(job.status).to.equal(JobStatus.CANCELLED);
    expect(job.result?.exitCode).to.equal(7);
    // The shell's own word of its ended child is on the other stream: before it or behind.
    expect(await bed.log(job.id)).to.match(/^ready\n.*cleaned up\n/s);
    expect(namesOf(job)).to.deep.equal(["delivered", "signalled", "stopped", "sandbox_removed"]);
    expect(job.result?.cancel?.processesLeft).to.equal(0);
    expect(processesWith(marker)).to.deep.equal([]);
    expect(driver.list()).to.deep.equal([]);
  });

  it("kills what does not listen, with all that it has started", async () => {
    const marker = `marker-${randomInt(1e9)}`;
    const script = `trap '' TERM; (trap '' TERM; sleep 600; : ${marker}) & setsid sh -c 'trap "" TERM; sleep 600; : ${marker}' & sleep 0.2; echo ready; wait; sleep 600`;
    const job = await cancelled(script, 300);
    expect(job.status).to.equal(JobStatus.CANCELLED);
    expect(namesOf(job)).to.deep.equal([
      ...["delivered", "signalled", "killed", "stopped", "sandbox_removed"],
    ]);
    const after = job.result?.cancel?.steps.map((step) => step.after && durationMs(step.after));
    expect(after).to.deep.equal([...(after ?? [])].sort((a = 0, b = 0) => a - b));
    expect(job.result?.cancel?.processesLeft).to.equal(0);
    expect(processesWith(marker)).to.deep.equal([]);
  });

  it("counts what runs in a sandbox, and nothing once it is deleted", async () => {
    const limits = { memoryMib: 256, cpuMillis: 1000, pids: 64, diskMib: 64 };
    const sandbox = await driver.create({
      id: "sbx_count",
      jobId: "job_count",
      limits,
      mounts: [],
      doors: [],
    });
    const count = () => sandbox.processes?.();
    expect(await count()).to.equal(0);
    const program = await sandbox.exec({ argv: ["sh", "-c", "sleep 600 & sleep 600"], env: {} });
    // The shell and its two children; the sandbox's own resident is no program.
    await bed.until(async () => (await count()) === 3);
    await sandbox.delete();
    expect(await count()).to.equal(0);
    expect((await program.exit).exitCode).to.equal(137);
  });
});
