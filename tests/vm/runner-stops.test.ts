/** A runner that stops, and one whose job is cancelled: each in every state that a job can be in. */
import { JobStatus } from "@devmesh/gen/devmesh/api/v1/job_status_pb";
import { expect } from "chai";
import { Bed, failBefore, untilHeard } from "./bed.ts";

const { SUCCEEDED, FAILED, CANCELLED, QUEUED } = JobStatus;

describe("runner", () => {
  let bed: Bed;
  beforeEach(async () => {
    bed = await Bed.open();
  });
  afterEach(() => bed.close());

  describe("whose driver does not tell a program's end", () => {
    it("fails the job, and removes the sandbox", async () => {
      const { driver } = bed.start();
      driver.mute.add("echo");
      const id = await bed.command("echo", "hello");
      const { status, result } = await bed.ended(id, { timePasses: true });
      expect([status, result?.reason]).to.deep.equal([FAILED, "SANDBOX_FAILED"]);
      expect(await bed.log(id)).to.equal("hello\n");
      expect(driver.list()).to.deep.equal([]);
    });

    it("ends a job that is cancelled all the same", async () => {
      const { driver } = bed.start();
      driver.mute.add("stubborn");
      const id = await bed.command("stubborn");
      await bed.until(() => driver.list().length === 1);
      await bed.jobs.cancelJob({ id });
      const { status, result } = await bed.ended(id, { timePasses: true });
      expect(status).to.equal(CANCELLED);
      const steps = result?.cancel?.steps.map(({ name }) => name);
      expect(steps).to.deep.equal(["delivered", "signalled", "killed", "sandbox_removed"]);
      expect(driver.list()).to.deep.equal([]);
    });
  });

  describe("that stops", () => {
    it("gives a running job back, and the attempt does not count", async () => {
      const { runner, driver } = bed.start();
      const id = await bed.command("sleep");
      await bed.until(() => driver.list().length === 1);
      await runner.close();
      const { status, attempt } = await bed.job(id);
      expect([status, attempt]).to.deep.equal([QUEUED, 0]);
      expect(driver.list()).to.deep.equal([]);
    });

    it("tells the result of work that has ended already", async () => {
      const { runner, driver } = bed.start();
      const collecting = driver.hold("get");
      const id = await bed.command("edit");
      await collecting.reached;
      const closed = runner.close();
      collecting.release();
      await closed;
      const { status, result } = await bed.job(id);
      expect(status).to.equal(SUCCEEDED);
      expect(result?.artifacts).to.have.length(3);
    });

    it("keeps its leases alive through a drain that takes longer than they live", async () => {
      const { runner, driver } = bed.start();
      const collecting = driver.hold("get");
      const id = await bed.command("edit");
      await collecting.reached;
      const closed = runner.close();
      const until = bed.clock.now() + 15_000;
      await bed.until(() => bed.clock.now() >= until, { timePasses: true });
      collecting.release();
      await closed;
      const { status, attempt } = await bed.job(id);
      expect([status, attempt]).to.deep.equal([SUCCEEDED, 1]);
    });

    it("gives back what was leased to it as it stopped", async () => {
      const { runner, faults, driver } = bed.start();
      const lease = faults.holdAnswer("LeaseJobs");
      const id = await bed.command("sleep");
      await lease.given;
      const closed = runner.close();
      lease.letGo();
      await closed;
      // The call was given up, so the lease that was in its answer runs out.
      const second = bed.start();
      second.driver.programs.sleep = async () => 0;
      expect((await bed.ended(id, { timePasses: true })).status).to.equal(SUCCEEDED);
      expect(driver.created).to.deep.equal([]);
    });

    it("does not wait for ever for a backend that is away", async () => {
      const { runner, driver, faults } = bed.start();
      await bed.command("sleep");
      await bed.until(() => driver.list().length === 1);
      faults.always("*", failBefore("UNAVAILABLE"));
      let closed = false;
      void runner.close().then(() => {
        closed = true;
      });
      await bed.until(() => closed, { timePasses: true });
      expect(driver.list()).to.deep.equal([]);
    });
  });

  describe("whose job is cancelled", () => {
    const cancel = async (id: string) => {
      await bed.jobs.cancelJob({ id, detail: "changed my mind" });
    };
    const expectCancelled = async (id: string) => {
      const { status, result } = await bed.ended(id, { timePasses: true });
      expect(status).to.equal(CANCELLED);
      expect(result).to.deep.include({ reason: "CANCELLED", message: "changed my mind" });
    };

    it("ends it before the sandbox is there", async () => {
      const { driver, faults } = bed.start();
      const creating = driver.hold("create");
      const id = await bed.command("sleep");
      await creating.reached;
      await cancel(id);
      await untilHeard(bed, faults.calls);
      creating.release();
      await expectCancelled(id);
      expect(driver.list()).to.deep.equal([]);
    });

    it("ends it while the workspace goes in", async () => {
      const { driver, faults } = bed.start();
      const putting = driver.hold("put");
      const workspaceSha256 = await bed.putBlob(Buffer.alloc(1024));
      const id = await bed.submit({
        work: { case: "command", value: { argv: ["sleep"] } },
        workspaceSha256,
      });
      await putting.reached;
      await cancel(id);
      await untilHeard(bed, faults.calls);
      putting.release();
      await expectCancelled(id);
    });

    it("ends it while the program runs", async () => {
      const { driver } = bed.start();
      const id = await bed.command("sleep");
      await bed.until(() => driver.list().length === 1);
      await cancel(id);
      await expectCancelled(id);
      expect(driver.list()).to.deep.equal([]);
    });

    it("tells how the work ended if it had ended before", async () => {
      const { driver, faults } = bed.start();
      const collecting = driver.hold("get");
      const id = await bed.command("exit", "3");
      await collecting.reached;
      await cancel(id);
      await untilHeard(bed, faults.calls);
      collecting.release();
      const { status, result } = await bed.ended(id);
      expect([status, result?.reason]).to.deep.equal([FAILED, "EXIT_STATUS"]);
    });
  });
});
