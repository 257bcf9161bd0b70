/** Freezing: all that runs stands still, goes on later, and can be removed meanwhile. */
import { expect } from "chai";
import type { Sandbox } from "../driver.ts";
import { within } from "../within.ts";
import {
  finish,
  needs,
  refusal,
  run,
  type SuiteContext,
  sandboxWithPrograms,
  startReady,
} from "./harness.ts";

/** The port's own bound of a removal. */
const deleteWithinMs = 10_000;
/** How long the processor time of a frozen sandbox is looked at: one that runs uses most of it. */
const lookMs = 100;
/** What the stop itself, and an engine that stays awake around the programs, may add meanwhile. */
const allowanceMs = 10;

/** Defines the tests of `freeze` and `resume`. */
export function freezeTests(context: SuiteContext): void {
  describe("freezing", () => {
    it("stops the processor time of what runs, and lets it go on", async function () {
      needs(context, "isolation", this);
      const sandbox = await sandboxWithPrograms(context);
      const spinning = await sandbox.exec({ argv: ["sh", "-c", "while :; do :; done"], env: {} });
      await untilBusy(sandbox);
      await sandbox.freeze();
      const { cpuMs } = await sandbox.stats();
      const until = performance.now() + lookMs;
      do {
        expect((await sandbox.stats()).cpuMs).to.be.within(cpuMs, cpuMs + allowanceMs);
      } while (performance.now() < until);
      await sandbox.resume();
      await untilBusy(sandbox);
      await spinning.signal("SIGKILL");
      expect((await spinning.exit).exitCode).to.equal(137);
    });

    it("takes both calls twice, and runs as before afterwards", async () => {
      const sandbox = await sandboxWithPrograms(context);
      const { process, rest } = await startReady(sandbox, "polite", 3);
      await sandbox.resume();
      await sandbox.freeze();
      await sandbox.freeze();
      await sandbox.resume();
      await sandbox.resume();
      expect((await run(sandbox, "args", ["on"])).text).to.equal("on\n");
      await process.signal("SIGTERM");
      expect((await process.exit).exitCode).to.equal(5);
      await rest;
    });

    it("keeps what is asked for meanwhile until it goes on", async () => {
      const sandbox = await sandboxWithPrograms(context);
      await sandbox.freeze();
      const late = sandbox.exec({ argv: ["/work/bin/args", "late"], env: {} }).then(finish);
      await sandbox.resume();
      expect((await late).text).to.equal("late\n");
    });

    it("deletes what is frozen, with all that runs in it", async () => {
      const sandbox = await sandboxWithPrograms(context);
      const { process, rest } = await startReady(sandbox, "family");
      await sandbox.freeze();
      await within(deleteWithinMs, sandbox.delete());
      expect((await process.exit).exitCode).to.equal(137);
      await rest;
      expect(context.subject().driver.list()).to.deep.equal([]);
    });

    it("refuses to hold what is deleted", async () => {
      const sandbox = await sandboxWithPrograms(context);
      await sandbox.delete();
      for (const call of [sandbox.freeze(), sandbox.resume(), sandbox.stats()]) {
        expect(await refusal(call)).to.equal("SANDBOX_FAILED");
      }
    });
  });
}

/** Resolves when the sandbox has used more of the processor than it had. */
async function untilBusy(sandbox: Sandbox): Promise<void> {
  const { cpuMs } = await sandbox.stats();
  while ((await sandbox.stats()).cpuMs <= cpuMs);
}
