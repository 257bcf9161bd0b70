/** A runner and a real backend in memory: what becomes of jobs, also when things break between them. */
import { Isolation } from "@devmesh/gen/devmesh/api/v1/isolation_pb";
import { JobStatus } from "@devmesh/gen/devmesh/api/v1/job_status_pb";
import { DevmeshError } from "@devmesh/mesh/errors";
import { expect } from "chai";
import { settled } from "../settled.ts";
import { Bed, failBefore, loseAnswer, twice } from "./bed.ts";

const { SUCCEEDED, FAILED, RUNNING } = JobStatus;

describe("runner", () => {
  let bed: Bed;
  beforeEach(async () => {
    bed = await Bed.open();
  });
  afterEach(() => bed.close());

  it("runs a job to its end, and leaves no sandbox", async () => {
    const { driver } = bed.start();
    const id = await bed.command("echo", "hello");
    const { status, result, attempt } = await bed.ended(id);
    expect({ status, attempt }).to.deep.equal({ status: SUCCEEDED, attempt: 1 });
    expect(result).to.deep.include({ exitCode: 0, reason: "", driver: "test" });
    expect(result?.isolation).to.equal(Isolation.PROCESS);
    expect(await bed.log(id)).to.equal("hello\n");
    expect(driver.list()).to.deep.equal([]);
  });

  it("tells an exit status, a full memory and a program that is not there apart", async () => {
    bed.start();
    const ends = [];
    for (const argv of [["exit", "3"], ["hog"], ["no-such-program"]]) {
      const { status, result } = await bed.ended(await bed.command(...argv));
      expect(status).to.equal(FAILED);
      ends.push([result?.reason, result?.exitCode]);
    }
    expect(ends).to.deep.equal([
      ["EXIT_STATUS", 3],
      ["OUT_OF_MEMORY", 137],
      ["COMMAND_NOT_FOUND", undefined],
    ]);
  });

  it("keeps what the job changed", async () => {
    bed.start();
    const { result } = await bed.ended(await bed.command("edit"));
    const names = result?.artifacts.map(({ name }) => name);
    expect(names).to.deep.equal(["changes.patch", "new.txt", "changes.tar"]);
  });

  it("does not run more jobs at once than it has room for", async () => {
    const { driver } = bed.start({ capacity: 2 });
    const ids = [];
    for (let i = 0; i < 5; i++) ids.push(await bed.command("sleep"));
    await bed.until(() => driver.list().length === 2);
    const statuses = await Promise.all(ids.map(async (id) => (await bed.job(id)).status));
    expect(statuses.filter((status) => status === RUNNING)).to.have.length(2);
    for (const id of ids) await bed.jobs.cancelJob({ id });
  });

  it("runs every job once, whichever of two runners takes it", async () => {
    const running = new Set<string>();
    const both: string[] = [];
    const program = async (context: { argv: readonly string[] }) => {
      const [, name = ""] = context.argv;
      if (running.has(name)) both.push(name);
      running.add(name);
      await new Promise((resolve) => setImmediate(resolve));
      running.delete(name);
      return 0;
    };
    const first = bed.start();
    const second = bed.start();
    first.driver.programs.once = program;
    second.driver.programs.once = program;
    const ids = [];
    for (let i = 0; i < 20; i++) ids.push(await bed.command("once", `job ${i}`));
    for (const id of ids) expect((await bed.ended(id)).attempt).to.equal(1);
    expect(both).to.deep.equal([]);
    expect(first.driver.created.length + second.driver.created.length).to.equal(20);
  });

  it("ends a job at its run timeout, by force where it does not listen", async () => {
    const { driver } = bed.start();
    const id = await bed.submit({
      work: { case: "command", value: { argv: ["stubborn"] } },
      limits: { runTimeout: { seconds: 5n } },
    });
    const { status, result } = await bed.ended(id, { timePasses: true });
    expect([status, result?.reason]).to.deep.equal([FAILED, "TIMEOUT"]);
    expect(driver.list()).to.deep.equal([]);
  });

  it("ends a job that is silent for its silence timeout, and names the limit", async () => {
    const { driver } = bed.start();
    const id = await bed.submit({
      work: { case: "command", value: { argv: ["sleep"] } },
      limits: { silenceTimeout: { seconds: 30n }, runTimeout: { seconds: 3600n } },
    });
    const { status, result } = await bed.ended(id, { timePasses: true });
    expect([status, result?.reason]).to.deep.equal([FAILED, "SILENT"]);
    expect(result?.message).to.include("30 s");
    expect(result?.cancel).to.equal(undefined);
    expect(driver.list()).to.deep.equal([]);
  });

  it("does not call a job silent that writes now and then, nor one whose sandbox takes long", async () => {
    const { driver } = bed.start();
    const creating = driver.hold("create");
    driver.programs.murmur = async ({ write }) => {
      for (let i = 0; i < 5; i++) {
        await bed.clock.sleep(800);
        await write("stderr", ".");
      }
      return 0;
    };
    const id = await bed.submit({
      work: { case: "command", value: { argv: ["murmur"] } },
      limits: { silenceTimeout: { seconds: 1n } },
    });
    await creating.reached;
    const until = bed.clock.now() + 5_000;
    await bed.until(() => bed.clock.now() >= until, { timePasses: true });
    creating.release();
    const { status, result } = await bed.ended(id, { timePasses: true });
    expect([status, result?.reason]).to.deep.equal([SUCCEEDED, ""]);
    expect(await bed.log(id)).to.equal(".....");
  });

  describe("with a backend that breaks", () => {
    it("sends its heartbeats while an append hangs", async () => {
      const { faults, driver } = bed.start();
      const hanging = Promise.withResolvers<void>();
      faults.always("AppendEvents", async (call) => {
        await hanging.promise;
        return call();
      });
      const id = await bed.command("echo", "slow");
      await bed.until(() => faults.calls.includes("AppendEvents"));
      // Far longer than a lease lives.
      const until = bed.clock.now() + 60_000;
      await bed.until(() => bed.clock.now() >= until, { timePasses: true });
      expect(faults.calls.filter((name) => name === "Heartbeat").length).to.be.greaterThan(15);
      hanging.resolve();
      const { status, attempt } = await bed.ended(id, { timePasses: true });
      expect([status, attempt]).to.deep.equal([SUCCEEDED, 1]);
      expect(driver.created).to.have.length(1);
    });

    it("renews no lease whose end is on its way, and goes on when that fails", async () => {
      const { faults } = bed.start();
      const leases: number[] = [];
      faults.always("Heartbeat", async (call) => {
        const answer = await call();
        leases.push((answer as { message: { leases: unknown[] } }).message.leases.length);
        return answer;
      });
      const beats = async (count: number) => {
        const from = leases.length;
        await bed.until(() => leases.length >= from + count, { timePasses: true });
        return leases.slice(from);
      };
      const told = Promise.withResolvers<void>();
      const failed = Promise.withResolvers<void>();
      faults.next("FinishJob", async () => {
        told.resolve();
        await failed.promise;
        throw new DevmeshError("UNAVAILABLE", "broken on purpose");
      });
      const id = await bed.command("echo", "hi");
      await told.promise;
      expect(await beats(1)).to.deep.equal([0]);
      faults.always("FinishJob", failBefore("UNAVAILABLE"));
      failed.resolve();
      expect(await beats(5)).to.include(1);
      faults.heal();
      const { status, attempt } = await bed.ended(id, { timePasses: true });
      expect([status, attempt]).to.deep.equal([SUCCEEDED, 1]);
    });

    it("keeps its lease over heartbeats that fail now and then", async () => {
      const { faults, driver } = bed.start();
      const end = Promise.withResolvers<number>();
      driver.programs.wait = () => end.promise;
      const id = await bed.command("wait");
      await bed.until(() => driver.list().length === 1);
      let beat = 0;
      faults.always("Heartbeat", (call) => {
        beat += 1;
        return beat % 3 === 0 ? call() : failBefore("UNAVAILABLE")(call);
      });
      await bed.until(() => beat >= 30, { timePasses: true });
      end.resolve(0);
      const { status, attempt } = await bed.ended(id, { timePasses: true });
      expect([status, attempt]).to.deep.equal([SUCCEEDED, 1]);
    });

    it("stores output once, in order, whatever happens to an append", async () => {
      const { faults } = bed.start();
      faults.next(
        "AppendEvents",
        ...[failBefore("UNAVAILABLE"), loseAnswer("UNAVAILABLE"), twice, failBefore("INTERNAL")],
        ...[loseAnswer("DEADLINE_EXCEEDED"), twice],
      );
      const id = await bed.command("echo", "once");
      const { status } = await bed.ended(id, { timePasses: true });
      expect(status).to.equal(SUCCEEDED);
      expect(await bed.log(id)).to.equal("once\n");
    });

    it("tells the result once, whatever happens to it", async () => {
      const { faults } = bed.start();
      faults.next("FinishJob", failBefore("UNAVAILABLE"), loseAnswer("UNAVAILABLE"), twice);
      const id = await bed.command("echo", "once");
      await bed.ended(id, { timePasses: true });
      const results = (await bed.events(id)).filter(({ kind }) => kind.case === "result");
      expect(results).to.have.length(1);
    });

    it("keeps files through an upload that is cut off", async () => {
      const { faults } = bed.start();
      faults.next("PutBlob", failBefore("UNAVAILABLE"), failBefore("INTERNAL"));
      const { status, result } = await bed.ended(await bed.command("edit"), { timePasses: true });
      expect(status).to.equal(SUCCEEDED);
      expect(result?.artifacts).to.have.length(3);
    });

    it("goes on with its jobs when the backend comes back in time", async () => {
      const { driver, faults } = bed.start();
      const end = Promise.withResolvers<number>();
      driver.programs.wait = () => end.promise;
      const id = await bed.command("wait");
      await bed.until(() => driver.list().length === 1);
      faults.always("*", failBefore("UNAVAILABLE"));
      await bed.until(() => faults.calls.filter((name) => name === "Heartbeat").length >= 2, {
        timePasses: true,
      });
      faults.heal();
      end.resolve(0);
      const { status, attempt } = await bed.ended(id, { timePasses: true });
      expect([status, attempt]).to.deep.equal([SUCCEEDED, 1]);
    });

    it("stops its jobs when the backend was away for long", async () => {
      const { driver, faults } = bed.start();
      await bed.command("sleep");
      await bed.until(() => driver.list().length === 1);
      faults.always("*", failBefore("UNAVAILABLE"));
      await bed.until(() => driver.list().length === 0, { timePasses: true });
    });

    it("presents itself again to a backend that forgot it", async () => {
      const { faults } = bed.start();
      await bed.ended(await bed.command("echo", "one"));
      faults.next("LeaseJobs", failBefore("NOT_FOUND"));
      faults.next("Heartbeat", failBefore("NOT_FOUND"));
      const registered = () => faults.calls.filter((name) => name === "RegisterRunner").length;
      await bed.ended(await bed.command("echo", "two"));
      await bed.until(() => registered() >= 3, { timePasses: true });
    });
  });

  describe("that loses its lease", () => {
    it("kills a program at once when an append is fenced, and writes nothing more", async () => {
      const { driver, faults } = bed.start();
      const silent = Promise.withResolvers<void>();
      // It writes once, then is silent and deaf: only the failed append can tell.
      driver.programs.mumble = async (context) => {
        context.onSignal(() => {});
        await context.write("stdout", "one\n");
        await settled();
        silent.resolve();
        return driver.programs.sleep?.(context) ?? 0;
      };
      faults.next("AppendEvents", async () => {
        await silent.promise;
        throw new DevmeshError("FENCED", "on purpose");
      });
      const id = await bed.command("mumble");
      await silent.promise;
      // The clock stands still: there is no grace to wait for.
      await bed.until(() => driver.list().length === 0);
      expect((await bed.job(id)).status).to.equal(RUNNING);
      expect(faults.calls).to.not.include("FinishJob");
      expect(await bed.events(id)).to.have.length(2);
    });

    it("kills a program that is writing when an append is fenced", async () => {
      const { driver, faults } = bed.start();
      const id = await bed.command("chatter");
      await bed.until(async () => (await bed.log(id)) !== "");
      faults.next("AppendEvents", failBefore("FENCED"));
      await bed.until(() => driver.list().length === 0);
      expect(faults.calls).to.not.include("FinishJob");
    });

    it("lets another runner do the job, and only that one's end counts", async () => {
      const lost = bed.start();
      const id = await bed.command("sleep");
      await bed.until(() => lost.driver.list().length === 1);
      lost.faults.always("*", failBefore("UNAVAILABLE"));
      const second = bed.start();
      second.driver.programs.sleep = async ({ write }) => {
        await write("stdout", "done by the second\n");
        return 0;
      };
      const { status, attempt, runner } = await bed.ended(id, { timePasses: true });
      expect({ status, attempt, runner }).to.deep.equal({
        status: SUCCEEDED,
        attempt: 2,
        runner: second.runner.id,
      });
      lost.faults.heal();
      await bed.until(() => lost.driver.list().length === 0, { timePasses: true });
      const results = (await bed.events(id)).filter(({ kind }) => kind.case === "result");
      expect(results).to.have.length(1);
      expect(await bed.log(id)).to.equal("done by the second\n");
    });

    it("tells no result that comes after", async () => {
      const { driver, faults } = bed.start();
      const collecting = driver.hold("get");
      const id = await bed.command("echo", "hello");
      await collecting.reached;
      faults.always("FinishJob", failBefore("FENCED"));
      collecting.release();
      await bed.until(() => faults.calls.includes("FinishJob"));
      await bed.until(() => driver.list().length === 0);
      expect((await bed.job(id)).status).to.equal(RUNNING);
    });
  });

  it("refuses a workspace that leads out of the sandbox", async () => {
    bed.start();
    const workspaceSha256 = await bed.putBlob(Buffer.alloc(10_240, "no tar"));
    const id = await bed.submit({
      work: { case: "command", value: { argv: ["echo"] } },
      workspaceSha256,
    });
    const { status, result } = await bed.ended(id);
    expect([status, result?.reason]).to.deep.equal([FAILED, "WORKSPACE_INVALID"]);
  });

  it("fails a job whose sandbox cannot be made", async () => {
    const { driver } = bed.start();
    driver.on("create", async () => {
      throw new Error("the engine is gone");
    });
    const { status, result } = await bed.ended(await bed.command("echo"));
    expect([status, result?.reason]).to.deep.equal([FAILED, "INTERNAL"]);
  });

  it("tells the work's end although a sandbox cannot be removed", async () => {
    const { driver } = bed.start();
    driver.on("delete", async () => {
      throw new Error("it is stuck");
    });
    expect((await bed.ended(await bed.command("echo"))).status).to.equal(SUCCEEDED);
  });
});
