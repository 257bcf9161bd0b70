/** Caps: each is met by a program that goes beyond it, and the host stays well. */
import { expect } from "chai";
import {
  type finish,
  needs,
  run,
  type SuiteContext,
  sandboxWithPrograms,
  unpack,
} from "./harness.ts";

/** Defines the tests of `SandboxLimits`. */
export function limitTests(context: SuiteContext): void {
  describe("limits", () => {
    it("ends what uses too much memory, and says so", async function () {
      needs(context, "caps", this);
      const limits = { memoryMib: 96, cpuMillis: 1000, pids: 64, diskMib: 64 };
      const sandbox = await sandboxWithPrograms(context, { limits });
      const { exitCode, text, outOfMemory } = await run(sandbox, "hog", ["600"]);
      expect(text).to.not.include("survived");
      expect(exitCode).to.not.equal(0);
      // Without a cgroup the program meets a failed allocation instead of its end.
      const { engine } = await context.subject().driver.probe();
      if (!engine.includes("rlimits"))
        expect({ exitCode, outOfMemory }).to.deep.equal({ exitCode: 137, outOfMemory: true });
      const next = await run(sandbox, "hog", ["1"]);
      expect(next).to.include({ exitCode: 0, outOfMemory: false, text: "survived\n" });
    });

    it("bounds the number of processes", async function () {
      needs(context, "caps", this);
      const limits = { memoryMib: 256, cpuMillis: 1000, pids: 40, diskMib: 64 };
      const sandbox = await sandboxWithPrograms(context, { limits });
      const process = await sandbox.exec({ argv: ["/work/bin/forks", "400"], env: {} });
      let text = "";
      const read = (async () => {
        for await (const { stream, data } of process.output())
          if (stream === "stdout") text += data;
      })();
      expect((await process.exit).exitCode).to.not.equal(0);
      await sandbox.delete();
      await read;
      expect(Number(text.trim().split("\n").at(-1))).to.be.within(5, 40);
    });

    it("kills also when there is no process left to start", async function () {
      needs(context, "caps", this);
      const limits = { memoryMib: 256, cpuMillis: 1000, pids: 40, diskMib: 64 };
      const sandbox = await sandboxWithPrograms(context, { limits });
      const process = await sandbox.exec({ argv: ["/work/bin/besieged"], env: {} });
      const rest = finishWhen(process, "full\n", () => process.signal("SIGKILL"));
      expect((await process.exit).exitCode).to.equal(137);
      await rest;
    });

    it("bounds the disk", async () => {
      const limits = { memoryMib: 256, cpuMillis: 1000, pids: 512, diskMib: 64 };
      const sandbox = await sandboxWithPrograms(context, { limits });
      const { exitCode } = await run(sandbox, "fills", ["300"]);
      expect(exitCode).to.not.equal(0);
      const size = (await unpack(await sandbox.get())).get("fill")?.data.length ?? 0;
      expect(size).to.be.at.most(64 * 1024 * 1024);
    });
  });
}

async function finishWhen(
  process: Parameters<typeof finish>[0],
  mark: string,
  then: () => Promise<void>,
): Promise<void> {
  let text = "";
  for await (const { data } of process.output()) {
    const before = text.includes(mark);
    text += data.toString();
    if (!before && text.includes(mark)) await then();
  }
}
