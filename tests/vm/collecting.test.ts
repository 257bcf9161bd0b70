/** Taking out what the work left: after all of it has ended, within a time and a number of bytes. */
import { existsSync, statSync } from "node:fs";
import { join } from "node:path";
import { Readable } from "node:stream";
import { JobStatus } from "@devmesh/gen/devmesh/api/v1/job_status_pb";
import { DevmeshError } from "@devmesh/mesh/errors";
import { TestClock } from "@devmesh/mesh/runtime";
import { expect } from "chai";
import type { Sandbox } from "../../services/vm/drivers/driver.ts";
import type { FakeProgram } from "../../services/vm/drivers/fake.ts";
import { fetchWorkDir } from "../../services/vm/runner/workspace/collected-archive.ts";
import { tempFolder } from "../sdk/temp-folder.ts";
import { settled } from "../settled.ts";
import { Bed } from "./bed.ts";

const mib = 1024 * 1024;

/** A file that has no end, as an archive tells it; counts the bytes that were taken. */
function endless() {
  const taken = { bytes: 0, isClosed: false };
  const zeros = async function* () {
    try {
      for (;;) {
        taken.bytes += mib;
        yield Buffer.alloc(mib);
      }
    } finally {
      taken.isClosed = true;
    }
  };
  return { taken, tar: () => Readable.from(zeros(), { objectMode: false }) };
}

describe("collecting", () => {
  describe("a job's files", () => {
    let bed: Bed;
    beforeEach(async () => {
      bed = await Bed.open();
    });
    afterEach(() => bed.close());

    it("comes after the end of all that the work left running, and so do an agent's tests", async () => {
      const { driver } = bed.start();
      const steps: string[] = [];
      for (const step of ["exec", "end", "get"] as const) {
        driver.on(step, async () => void steps.push(step));
      }
      await bed.ended(await bed.command("edit"));
      expect(steps.splice(0)).to.deep.equal(["exec", "end", "get"]);
      const report = { type: "report", finished: true, summary: "done", steps: 1, message: "" };
      const node: FakeProgram = async ({ write }) => {
        await write("stderr", `\x1e${JSON.stringify(report)}\n`);
        return 0;
      };
      Object.assign(driver.programs, { node, tests: async () => 0 });
      const value = { task: "answer", testArgv: ["tests"] };
      const id = await bed.submit({ work: { case: "agent", value } });
      const { status } = await bed.ended(id, { timePasses: true });
      expect(status).to.equal(JobStatus.SUCCEEDED);
      // Tests before, the agent; tests after; what they left.
      expect(steps).to.deep.equal(["exec", "exec", "end", "exec", "end", "get"]);
    });

    it("is refused where something of it does not end, and the job says why", async () => {
      const { driver } = bed.start();
      let isTaken = false;
      driver.on("get", async () => {
        isTaken = true;
      });
      driver.on("end", async () => {
        throw new DevmeshError("SANDBOX_FAILED", "something still runs");
      });
      const { status, result } = await bed.ended(await bed.command("edit"));
      expect([status, result?.reason]).to.deep.equal([JobStatus.FAILED, "SANDBOX_FAILED"]);
      expect(result?.message).to.include("something still runs");
      expect(result?.artifacts).to.deep.equal([]);
      expect(isTaken).to.equal(false);
    });

    for (const [argv, reason] of [
      [["edit"], "TOO_LARGE"],
      [["exit", "3"], "EXIT_STATUS"],
    ] as const) {
      it(`is told to have been too much by a job that ends with ${reason}`, async () => {
        const { driver } = bed.start();
        driver.packed = endless().tar;
        const id = await bed.submit({
          work: { case: "command", value: { argv: [...argv] } },
          limits: { diskMib: 16 },
        });
        const { result } = await bed.ended(id);
        expect(result?.reason).to.equal(reason);
        const notes = (await bed.events(id)).flatMap(({ kind }) =>
          kind.case === "note" && kind.value.topic === "artifacts" ? [kind.value.message] : [],
        );
        expect(notes).to.have.length(1);
        expect(notes[0]).to.include("16 MiB").and.include("sparse");
      });
    }
  });

  describe("an archive", () => {
    const fetch = (get: Sandbox["get"], path: string, diskBytes = mib) => {
      const clock = new TestClock();
      const signal = new AbortController();
      const sandbox = { get } as Sandbox;
      const end = fetchWorkDir({ sandbox, path, diskBytes, clock, signal: signal.signal });
      return { clock, signal, end: end.catch((error: unknown) => error) };
    };

    it("that is larger than the disk and its headers is given up while it is written", async () => {
      using folder = tempFolder();
      const path = join(folder.path, "after.tar");
      const { taken, tar } = endless();
      const { clock, end } = fetch(async () => tar(), path, 4 * mib);
      expect(await end).to.have.property("reason", "TOO_LARGE");
      expect(taken.isClosed).to.equal(true);
      expect(statSync(path).size).to.be.at.most(7 * mib);
      // The source, the check and the file each hold a chunk or two.
      expect(taken.bytes).to.be.at.most(16 * mib);
      expect(clock.sleeping).to.equal(0);
    });

    it("of a full disk with a file in each of its blocks is taken", async () => {
      using folder = tempFolder();
      const path = join(folder.path, "after.tar");
      const bytes = Buffer.alloc(6 * mib);
      const { end } = fetch(async () => Readable.from([bytes]), path, 4 * mib);
      expect(await end).to.have.property("path", path);
      expect(statSync(path).size).to.equal(bytes.length);
    });

    for (const [when, get] of [
      ["never begins", (signal?: AbortSignal) => aborted(signal)],
      ["stands still", async () => new Readable({ read() {} })],
    ] as const) {
      it(`that ${when} is given up after ten minutes`, async () => {
        using folder = tempFolder();
        const { clock, end } = fetch(get, join(folder.path, "after.tar"));
        await settled();
        clock.advance(10 * 60_000);
        const error = await end;
        expect(error).to.have.property("reason", "DEADLINE_EXCEEDED");
        expect(String(error)).to.include("10 minutes");
      });

      it(`that ${when} is given up with the lease`, async () => {
        using folder = tempFolder();
        const path = join(folder.path, "after.tar");
        const { clock, signal, end } = fetch(get, path);
        await settled();
        signal.abort(new DevmeshError("FENCED", "the lease is lost"));
        expect(await end)
          .to.be.an("error")
          .and.not.have.property("reason", "DEADLINE_EXCEEDED");
        expect(clock.sleeping).to.equal(0);
        expect(existsSync(path) ? statSync(path).size : 0).to.equal(0);
      });
    }
  });
});

/** A call that is answered by its end alone. */
function aborted(signal?: AbortSignal): Promise<never> {
  const { promise, reject } = Promise.withResolvers<never>();
  const cancel = () => reject(new DevmeshError("CANCELLED", "the call was cancelled"));
  signal?.addEventListener("abort", cancel, { once: true });
  return promise;
}
