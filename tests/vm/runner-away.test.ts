/** A runner that is drained, and one that stood still for longer than its leases live. */
import { JobStatus } from "@devmesh/gen/devmesh/api/v1/job_status_pb";
import { toDevmeshError } from "@devmesh/mesh/errors";
import { expect } from "chai";
import { Bed, type Fault, type Faults, failBefore, untilHeard } from "./bed.ts";

const { SUCCEEDED, QUEUED } = JobStatus;

describe("runner", () => {
  let bed: Bed;
  beforeEach(async () => {
    bed = await Bed.open();
  });
  afterEach(() => bed.close());

  describe("that is drained", () => {
    /** What the backend says of draining from now on. */
    const say = (draining: boolean, { faults }: { readonly faults: Faults }) =>
      faults.always("Heartbeat", async (call) => {
        const answer = await call();
        (answer as { message: { draining?: boolean } }).message.draining = draining;
        return answer;
      });

    it("finishes what it has, asks for no more, and goes on when it is resumed", async () => {
      const started = bed.start();
      const { driver, faults } = started;
      const end = Promise.withResolvers<number>();
      driver.programs.wait = () => end.promise;
      const running = await bed.command("wait");
      await bed.until(() => driver.list().length === 1);
      say(true, started);
      await untilHeard(bed, faults.calls);
      // The ask that was under way when it heard of it runs out.
      const asked = () => faults.calls.filter((name) => name === "LeaseJobs").length;
      const later = bed.clock.now() + 30_000;
      await bed.until(() => bed.clock.now() >= later, { timePasses: true });
      const before = asked();
      const waiting = await bed.command("echo", "later");
      await untilHeard(bed, faults.calls);
      end.resolve(0);
      expect((await bed.ended(running, { timePasses: true })).status).to.equal(SUCCEEDED);
      await untilHeard(bed, faults.calls);
      expect(asked()).to.equal(before);
      expect((await bed.job(waiting)).status).to.equal(QUEUED);
      say(false, started);
      const { status, attempt } = await bed.ended(waiting, { timePasses: true });
      expect([status, attempt]).to.deep.equal([SUCCEEDED, 1]);
    });

    it("runs what an ask from before still brings: the backend gave it", async () => {
      const started = bed.start();
      const { driver, faults } = started;
      await bed.until(() => faults.calls.includes("LeaseJobs"));
      say(true, started);
      await untilHeard(bed, faults.calls);
      const { status, attempt } = await bed.ended(await bed.command("echo", "late"), {
        timePasses: true,
      });
      expect([status, attempt]).to.deep.equal([SUCCEEDED, 1]);
      expect(driver.created).to.have.length(1);
      expect(faults.calls.filter((name) => name === "LeaseJobs")).to.have.length(1);
    });

    it("stops while it is drained", async () => {
      const started = bed.start();
      say(true, started);
      await untilHeard(bed, started.faults.calls);
      await started.runner.close();
    });
  });

  describe("that stood still", () => {
    /** Time goes by for everybody, and the runner does nothing. Answers what became of its leases. */
    const standStill = async (ms: number, { faults }: { readonly faults: Faults }) => {
      const go = Promise.withResolvers<void>();
      const states: boolean[] = [];
      const wait: Fault = async (call) => {
        await go.promise;
        const answer = await call();
        const { message } = answer as { message: { leases?: { fenced?: boolean }[] } };
        for (const { fenced } of message.leases ?? []) states.push(fenced === true);
        return answer;
      };
      faults.always("*", wait);
      const until = bed.clock.now() + ms;
      await bed.until(() => bed.clock.now() >= until, { timePasses: true });
      faults.heal();
      go.resolve();
      return states;
    };

    it("tells the backend of the leases it takes for its own, hears the truth, and works on", async () => {
      const lost = bed.start();
      const id = await bed.command("sleep");
      await bed.until(() => lost.driver.list().length === 1);
      const second = bed.start();
      second.driver.programs.sleep = async () => 0;
      const states = await standStill(60_000, lost);
      expect((await bed.ended(id, { timePasses: true })).runner).to.equal(second.runner.id);
      await bed.until(() => lost.driver.list().length === 0, { timePasses: true });
      // Asked once, under the old epoch: that is the write that is seen to be fenced.
      expect(states).to.deep.equal([true]);
      expect(lost.faults.calls).to.not.include("FinishJob");
      await second.runner.close();
      const next = await bed.ended(await bed.command("echo", "on"), { timePasses: true });
      expect([next.status, next.runner]).to.deep.equal([SUCCEEDED, lost.runner.id]);
    });

    it("tells the backend of a job that it gave up as soon as it is there again", async () => {
      const { driver, faults, runner } = bed.start();
      const id = await bed.command("sleep");
      await bed.until(() => driver.list().length === 1);
      const released: string[] = [];
      // Everything but the release stays broken; the backend itself does not sweep meanwhile.
      faults.always("Heartbeat", failBefore("UNAVAILABLE"));
      faults.always("LeaseJobs", failBefore("UNAVAILABLE"));
      faults.always("ReleaseJob", async (call) => {
        try {
          return await call();
        } catch (error) {
          released.push(toDevmeshError(error).reason);
          throw error;
        }
      });
      await bed.until(() => released.length > 0, { timePasses: true });
      expect(released).to.deep.equal(["FENCED"]);
      expect(driver.list()).to.deep.equal([]);
      expect((await bed.job(id)).status).to.equal(QUEUED);
      faults.heal();
      driver.programs.sleep = async () => 0;
      const { status, runner: by } = await bed.ended(id, { timePasses: true });
      expect([status, by]).to.deep.equal([SUCCEEDED, runner.id]);
    });
  });
});
