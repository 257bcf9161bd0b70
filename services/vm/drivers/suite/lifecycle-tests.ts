/** Probe, create, list, delete from every state, and leftovers of dead processes. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { expect } from "chai";
import { isolations } from "../driver.ts";
import {
  archive,
  needs,
  refusal,
  run,
  type SuiteContext,
  sandboxWithPrograms,
  startReady,
  suiteSpec,
  unpack,
} from "./harness.ts";

/** Defines the tests of a sandbox's life. */
export function lifecycleTests(context: SuiteContext): void {
  describe("lifecycle", () => {
    it("says that it is available, and with what", async () => {
      const { driver } = context.subject();
      const probe = await driver.probe();
      expect(probe).to.include({
        driver: driver.name,
        isolation: driver.isolation,
        available: true,
        reason: "",
        remedy: "",
      });
      expect(probe.engine).to.not.equal("");
      expect(isolations).to.include(driver.isolation);
      expect(driver.list()).to.deep.equal([]);
    });

    it("names a sandbox as it was asked to, and lists it until it is deleted", async () => {
      const { driver } = context.subject();
      const [first, second] = [suiteSpec({ jobId: "job_a" }), suiteSpec({ jobId: "job_b" })];
      const one = await driver.create(first);
      const two = await driver.create(second);
      expect(one).to.include({ id: first.id, jobId: "job_a", driver: driver.name });
      expect(one.createdAtMs).to.be.greaterThan(1_600_000_000_000);
      expect(driver.list().map(({ id }) => id)).to.deep.equal([first.id, second.id]);
      await one.delete();
      expect(driver.list().map(({ id }) => id)).to.deep.equal([second.id]);
      await two.delete();
      expect(driver.list()).to.deep.equal([]);
    });

    it("does not start under a signal that is aborted, and leaves nothing", async () => {
      const { driver } = context.subject();
      expect(await refusal(driver.create(suiteSpec(), AbortSignal.abort()))).to.equal("CANCELLED");
      expect(driver.list()).to.deep.equal([]);
    });

    it("keeps two sandboxes' files apart", async () => {
      const one = await sandboxWithPrograms(context);
      const two = await sandboxWithPrograms(context);
      await run(one, "writes", ["/work/mine", "1"]);
      await run(one, "writes", ["/tmp/mine", "1"]);
      expect((await unpack(await two.get())).has("mine")).to.equal(false);
      await two.put(archive([{ name: "none" }]));
      expect((await run(two, "streams", ["/tmp/mine", "/work/none"])).text).to.equal("");
    });

    it("deletes before anything has run, and twice", async () => {
      const sandbox = await context.subject().driver.create(suiteSpec());
      await Promise.all([sandbox.delete(), sandbox.delete()]);
      await sandbox.delete();
    });

    it("deletes while a program runs, and ends it", async () => {
      const sandbox = await sandboxWithPrograms(context);
      const { process, rest } = await startReady(sandbox, "family");
      // A driver that can tell counts the program and its children, and none at the end.
      expect((await sandbox.processes?.()) ?? 2).to.be.greaterThan(1);
      await sandbox.delete();
      expect((await sandbox.processes?.()) ?? 0).to.equal(0);
      expect((await process.exit).exitCode).to.equal(137);
      await rest;
      await process.signal("SIGKILL");
    });

    it("refuses everything after its end", async () => {
      const sandbox = await sandboxWithPrograms(context);
      await sandbox.delete();
      expect(await refusal(sandbox.exec({ argv: ["/work/bin/where"], env: {} }))).to.equal(
        "SANDBOX_FAILED",
      );
      expect(await refusal(sandbox.put(archive([])))).to.equal("SANDBOX_FAILED");
      expect(await refusal(sandbox.get())).to.equal("SANDBOX_FAILED");
    });

    it("reaps nothing of a living process", async () => {
      const { driver } = context.subject();
      const sandbox = await sandboxWithPrograms(context);
      expect(await driver.reap()).to.deep.equal([]);
      expect((await run(sandbox, "exits", ["0"])).exitCode).to.equal(0);
    });

    it("reaps what a killed process left, and only once", async function () {
      needs(context, "reap", this);
      const { driver, childSource } = context.subject();
      if (childSource === undefined)
        throw new Error("the driver's line in the table lacks a childSource");
      const spec = suiteSpec();
      const child = spawn(
        process.execPath,
        ["--input-type=module-typescript", "-e", `${childSource}\n${leaver(JSON.stringify(spec))}`],
        { stdio: ["ignore", "pipe", "inherit"] },
      );
      const lines = createInterface({ input: child.stdout });
      const [line] = await Promise.race([
        once(lines, "line"),
        once(child, "exit").then(() => ["the child ended early"]),
      ]);
      expect(line).to.equal("ready");
      expect(await driver.reap()).to.deep.equal([]);
      child.kill("SIGKILL");
      await once(child, "exit");
      expect(await driver.reap()).to.deep.equal([spec.id]);
      expect(await driver.reap()).to.deep.equal([]);
      expect(driver.list()).to.deep.equal([]);
    });
  });
}

/** What the second process does with its `driver`: makes a sandbox, runs in it, and waits. */
function leaver(spec: string): string {
  return `
const sandbox = await driver.create(${spec});
const running = await sandbox.exec({ argv: ["sh", "-c", "echo up; sleep 600"], env: {} });
for await (const { data } of running.output()) if (data.includes("up")) console.log("ready");
`;
}
