/** What a cancel does in every state of an attempt, and what its receipt says of it. */
import { durationMs } from "@bufbuild/protobuf/wkt";
import type { Job } from "@devmesh/gen/devmesh/api/v1/job_pb";
import { JobStatus } from "@devmesh/gen/devmesh/api/v1/job_status_pb";
import { toDevmeshError } from "@devmesh/mesh/errors";
import { expect } from "chai";
import { Bed, untilHeard } from "./bed.ts";

const { SUCCEEDED, FAILED, CANCELLED } = JobStatus;

describe("cancel", () => {
  let bed: Bed;
  beforeEach(async () => {
    bed = await Bed.open();
  });
  afterEach(() => bed.close());

  const cancel = (id: string) => bed.jobs.cancelJob({ id, detail: "changed my mind" });
  const namesOf = ({ result }: Job) => result?.cancel?.steps.map(({ name }) => name);

  it("of a program that listens: signalled, stopped, and the sandbox is gone before it is told", async () => {
    const { driver, faults } = bed.start();
    const id = await bed.command("sleep");
    await bed.until(() => driver.list().length === 1);
    let sandboxesAtFinish = -1;
    faults.next("FinishJob", (call) => {
      sandboxesAtFinish = driver.list().length;
      return call();
    });
    await cancel(id);
    const job = await bed.ended(id, { timePasses: true });
    expect(job.status).to.equal(CANCELLED);
    expect(namesOf(job)).to.deep.equal(["delivered", "signalled", "stopped", "sandbox_removed"]);
    expect(job.result?.cancel?.processesLeft).to.equal(0);
    expect(sandboxesAtFinish).to.equal(0);
  });

  it("of a program that is deaf: killed after its grace", async () => {
    const { driver } = bed.start();
    const id = await bed.command("stubborn");
    await bed.until(() => driver.list().length === 1);
    await cancel(id);
    const job = await bed.ended(id, { timePasses: true });
    expect(namesOf(job)).to.deep.equal([
      ...["delivered", "signalled", "killed", "stopped", "sandbox_removed"],
    ]);
    const after = job.result?.cancel?.steps.map((step) => step.after && durationMs(step.after));
    expect(after?.[0]).to.equal(0);
    expect(after?.[2]).to.be.greaterThanOrEqual(5_000);
    expect(after).to.deep.equal([...(after ?? [])].sort((a = 0, b = 0) => a - b));
  });

  it("before the lease is in the runner's hands ends the attempt at its start", async () => {
    const { faults, driver } = bed.start();
    // Cancelled between the claim and the answer to the runner.
    const lease = faults.holdAnswer("LeaseJobs");
    const id = await bed.command("sleep");
    await lease.given;
    await cancel(id);
    lease.letGo();
    const job = await bed.ended(id, { timePasses: true });
    expect(job.status).to.equal(CANCELLED);
    expect(namesOf(job)?.[0]).to.equal("delivered");
    expect(driver.list()).to.deep.equal([]);
  });

  it("that the lease itself tells of starts nothing", async () => {
    const { faults, driver } = bed.start();
    faults.next("LeaseJobs", async (call) => {
      const answer = await call();
      const { message } = answer as { message: { leases?: { job?: Job }[] } };
      for (const { job } of message.leases ?? []) {
        if (job === undefined) continue;
        await cancel(job.id);
        job.cancelRequested = true;
      }
      return answer;
    });
    const job = await bed.ended(await bed.command("sleep"));
    expect(job.status).to.equal(CANCELLED);
    expect(namesOf(job)).to.deep.equal(["delivered"]);
    expect(driver.created).to.deep.equal([]);
  });

  it("while the sandbox is made: nothing was signalled", async () => {
    const { driver, faults } = bed.start();
    const creating = driver.hold("create");
    const id = await bed.command("sleep");
    await creating.reached;
    await cancel(id);
    await untilHeard(bed, faults.calls);
    creating.release();
    const job = await bed.ended(id, { timePasses: true });
    expect(job.status).to.equal(CANCELLED);
    expect(namesOf(job)).to.deep.equal(["delivered"]);
    expect(driver.list()).to.deep.equal([]);
  });

  it("while the workspace goes in: the sandbox is removed", async () => {
    const { driver, faults } = bed.start();
    const putting = driver.hold("put");
    const workspaceSha256 = await bed.putBlob(Buffer.alloc(1024));
    const work = { case: "command" as const, value: { argv: ["sleep"] } };
    const id = await bed.submit({ work, workspaceSha256 });
    await putting.reached;
    await cancel(id);
    await untilHeard(bed, faults.calls);
    putting.release();
    const job = await bed.ended(id, { timePasses: true });
    expect(namesOf(job)).to.deep.equal(["delivered", "sandbox_removed"]);
    expect(driver.list()).to.deep.equal([]);
  });

  it("after the work's end changes nothing of the end", async () => {
    const { driver, faults } = bed.start();
    const collecting = driver.hold("get");
    const id = await bed.command("edit");
    await collecting.reached;
    await cancel(id);
    await untilHeard(bed, faults.calls);
    collecting.release();
    const job = await bed.ended(id);
    expect(job.status).to.equal(SUCCEEDED);
    expect(job.result?.artifacts).to.have.length(3);
    expect(namesOf(job)).to.deep.equal(["delivered", "sandbox_removed"]);
  });

  it("twice is as once", async () => {
    const { driver, faults } = bed.start();
    const id = await bed.command("stubborn");
    await bed.until(() => driver.list().length === 1);
    await cancel(id);
    await untilHeard(bed, faults.calls);
    await cancel(id);
    await untilHeard(bed, faults.calls);
    const job = await bed.ended(id, { timePasses: true });
    expect(namesOf(job)).to.deep.equal([
      ...["delivered", "signalled", "killed", "stopped", "sandbox_removed"],
    ]);
  });

  it("after the end is refused, and leaves no receipt", async () => {
    bed.start();
    const id = await bed.command("echo", "hi");
    const before = await bed.ended(id);
    const refused = await cancel(id).catch((error: unknown) => toDevmeshError(error).reason);
    expect(refused).to.equal("WRONG_STATE");
    expect(await bed.job(id)).to.deep.equal(before);
    expect(before.result?.cancel).to.equal(undefined);
  });

  it("of work that is being stopped already keeps that reason, with the cancel's receipt", async () => {
    const { driver, faults } = bed.start();
    const id = await bed.submit({
      work: { case: "command", value: { argv: ["stubborn"] } },
      limits: { runTimeout: { seconds: 1n } },
    });
    await bed.until(() => driver.list().length === 1);
    const stopping = bed.clock.now() + 1_500;
    await bed.until(() => bed.clock.now() >= stopping, { timePasses: true });
    await cancel(id);
    await untilHeard(bed, faults.calls);
    const job = await bed.ended(id, { timePasses: true });
    expect([job.status, job.result?.reason]).to.deep.equal([FAILED, "TIMEOUT"]);
    expect(namesOf(job)).to.include.members(["delivered", "sandbox_removed"]);
    expect(namesOf(job)).to.not.include("signalled");
  });

  it("tells of a sandbox that stays, and of what runs in it", async () => {
    const { driver } = bed.start();
    driver.on("delete", async () => {
      throw new Error("it is stuck");
    });
    driver.left = 2;
    const id = await bed.command("sleep");
    await bed.until(() => driver.list().length === 1);
    await cancel(id);
    const job = await bed.ended(id, { timePasses: true });
    expect(namesOf(job)).to.deep.equal(["delivered", "signalled", "stopped"]);
    expect(job.result?.cancel?.processesLeft).to.equal(2);
  });
});
