/** Programs that mean no good, and requests that cannot be met: each ends in its own typed way. */
import { expect } from "chai";
import type { SandboxLimits } from "../driver.ts";
import { within } from "../within.ts";
import {
  finish,
  needs,
  refusal,
  refusedField,
  run,
  type SuiteContext,
  sandboxWithPrograms,
  shell,
  startReady,
  suiteSpec,
} from "./harness.ts";

const deleteWithinMs = 10_000;

/** Defines the tests of bad programs and bad requests. */
export function misbehaviourTests(context: SuiteContext): void {
  describe("misbehaviour", () => {
    const limits = { memoryMib: 256, cpuMillis: 1000, pids: 512, diskMib: 64 };
    const besieged = { limits: { ...limits, pids: 64 } };

    it("says that starts of processes were refused, and goes on", async function () {
      needs(context, "caps", this);
      const sandbox = await sandboxWithPrograms(context, besieged);
      const process = await sandbox.exec({ argv: ["/work/bin/besieged"], env: {} });
      let text = "";
      for await (const { data } of process.output()) {
        text += data.toString();
        if (text.includes("full")) await process.signal("SIGKILL");
      }
      const exit = await process.exit;
      expect(exit.exitCode).to.equal(137);
      expect(exit.outOfMemory).to.equal(false);
      expect(exit.met ?? []).to.include("pids");
      const next = await run(sandbox, "args", ["well"]);
      expect(next.text).to.equal("well\n");
      expect(next.met).to.equal(undefined);
    });

    it("ends a program that forks for ever", async function () {
      needs(context, "caps", this);
      needs(context, "isolation", this);
      const sandbox = await sandboxWithPrograms(context, besieged);
      const bomb = await sandbox.exec({
        argv: ["sh", "-c", "b() { b & b; }; echo lit; b 2>/dev/null"],
        env: {},
      });
      for await (const { data } of bomb.output()) {
        if (data.includes("lit")) await bomb.signal("SIGKILL");
      }
      await bomb.exit;
      expect((await run(sandbox, "args", ["well"])).text).to.equal("well\n");
      await within(deleteWithinMs, sandbox.delete());
    });

    it("deletes while a program forks for ever", async function () {
      needs(context, "isolation", this);
      const sandbox = await sandboxWithPrograms(context, { limits });
      const bomb = await sandbox.exec({
        argv: ["sh", "-c", "b() { b & b; }; echo lit; b 2>/dev/null"],
        env: {},
      });
      const reading = finish(bomb);
      await within(deleteWithinMs, sandbox.delete());
      expect((await reading).exitCode).to.not.equal(0);
    });

    it("says that the disk was full, and goes on when there is room again", async () => {
      const sandbox = await sandboxWithPrograms(context, { limits });
      const filled = await run(sandbox, "fills", ["300"]);
      expect(filled.exitCode).to.not.equal(0);
      expect(filled.met ?? []).to.include("disk");
      await run(sandbox, "writes", ["/work/fill", ""]);
      const next = await run(sandbox, "exits", ["1"]);
      expect(next).to.include({ exitCode: 1 });
      expect(next.met).to.equal(undefined);
    });

    it("holds back what writes for ever while nobody reads", async () => {
      const sandbox = await sandboxWithPrograms(context, { limits });
      const spewing = await sandbox.exec({ argv: ["/work/bin/spews"], env: {} });
      for (let i = 0; i < 3; i++) {
        expect((await run(sandbox, "args", ["well"])).text).to.equal("well\n");
      }
      await spewing.signal("SIGKILL");
      expect((await spewing.exit).exitCode).to.equal(137);
      // What was said before its end is there, and is no more than what is held.
      expect((await finish(spewing)).stdout.length).to.be.within(1, 2 ** 20);
    });

    it("waits for the end of a program that has closed its output", async function () {
      needs(context, "isolation", this);
      const sandbox = await sandboxWithPrograms(context);
      const { exitCode, stdout } = await shell(
        sandbox,
        "exec >&- 2>&-; i=0; while [ $i -lt 1000 ]; do i=$((i+1)); done; exit 7",
      );
      expect({ exitCode, length: stdout.length }).to.deep.equal({ exitCode: 7, length: 0 });
    });

    it("ends by SIGKILL what ignores SIGTERM", async () => {
      const sandbox = await sandboxWithPrograms(context);
      const { process, rest } = await startReady(sandbox, "stubborn");
      await process.signal("SIGTERM");
      expect((await run(sandbox, "exits", ["0"])).exitCode).to.equal(0);
      await process.signal("SIGKILL");
      expect((await process.exit).exitCode).to.equal(137);
      await rest;
    });

    it("passes terminal escapes on as the bytes they are", async () => {
      const sandbox = await sandboxWithPrograms(context);
      const escapes = "\x1b]0;title\x07\x1b[2J\x1b[31m\x1bP1$t\x1b\\\x9b\x00";
      const input = Buffer.from(escapes, "latin1");
      const { stdout } = await run(sandbox, "echoes", [], { input });
      expect(stdout.toString("latin1")).to.equal(escapes);
    });

    it("gives a program its input, and its end", async () => {
      const sandbox = await sandboxWithPrograms(context);
      const input = Buffer.alloc(3_000_000, "input ");
      const { stdout } = await run(sandbox, "echoes", [], { input });
      expect(stdout.equals(input)).to.equal(true);
      // One that does not want it ends all the same; one without any finds none.
      expect((await run(sandbox, "exits", ["3"], { input })).exitCode).to.equal(3);
      expect((await run(sandbox, "echoes")).stdout.length).to.equal(0);
    });

    it("refuses more input than the port takes", async () => {
      const sandbox = await sandboxWithPrograms(context);
      const input = Buffer.alloc(16 * 1024 * 1024 + 1);
      const call = sandbox.exec({ argv: ["/work/bin/echoes"], env: {}, input });
      expect(await refusedField(call)).to.equal("input");
    });

    it("refuses limits that no kernel takes, by name", async () => {
      const { driver } = context.subject();
      const names = ["memoryMib", "cpuMillis", "pids", "diskMib"] as const;
      for (const name of names satisfies readonly (keyof SandboxLimits)[]) {
        for (const value of [0, -1, 1e18, 1.5, Number.NaN, Number.POSITIVE_INFINITY]) {
          const call = driver.create(suiteSpec({ limits: { ...limits, [name]: value } }));
          expect(await refusedField(call), `${name} ${value}`).to.equal(`limits.${name}`);
        }
      }
      expect(driver.list()).to.deep.equal([]);
    });

    it("refuses an id that names nothing", async () => {
      const { driver } = context.subject();
      for (const id of ["", "../x", "a b", "a/b", "x".repeat(65), "a\n"]) {
        expect(await refusedField(driver.create(suiteSpec({ id }))), id).to.equal("id");
      }
    });

    it("leaves nothing of a start that is given up on its way", async () => {
      const { driver } = context.subject();
      const giveUp = new AbortController();
      const call = driver.create(suiteSpec(), giveUp.signal);
      giveUp.abort();
      // Whether it is quicker than the signal is the driver's luck.
      const outcome = await refusal(call.then((sandbox) => sandbox.delete()));
      expect(outcome).to.be.oneOf(["CANCELLED", "none"]);
      expect(driver.list()).to.deep.equal([]);
      expect(await driver.reap()).to.deep.equal([]);
    });
  });
}
