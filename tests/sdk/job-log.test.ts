/** The SDK's and the command line's way to a raw log, against the real backend. */

import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { SeededRandom } from "@devmesh/mesh/runtime";
import { expect } from "chai";
import fc from "fast-check";
import * as portable from "../../sdk/ts/src/index.ts";
import { createDevmesh, type Devmesh, type LogOptions } from "../../sdk/ts/src/node.ts";
import { Bed, reasonOf } from "../api/bed.ts";
import { HandRunner } from "../api/hand-runner.ts";
import { runCli } from "../cli/run-cli.ts";
import { between } from "../faults/random.ts";
import { TcpProxy } from "../faults/tcp-proxy.ts";
import { tempFolder } from "./temp-folder.ts";

describe("a job's raw log by the SDK", function () {
  this.timeout(60_000);
  let bed: Bed;
  let runner: HandRunner;
  let url: string;
  beforeEach(async () => {
    bed = await Bed.open();
    url = await bed.url();
    runner = await HandRunner.register((service) => bed.client(service));
  });
  afterEach(() => bed.close());

  const bytes = Buffer.from(Array.from({ length: 300_000 }, (_, i) => (i * 31) % 256));

  async function ended(): Promise<string> {
    const job = await runner.start();
    for (let at = 0; at < bytes.length; at += 9_999) {
      await job.write({ data: bytes.subarray(at, at + 9_999) });
    }
    await job.finish();
    return job.id;
  }

  async function read(devmesh: Devmesh, id: string, options?: LogOptions): Promise<Buffer> {
    const chunks: Uint8Array[] = [];
    for await (const chunk of devmesh.jobs.log(id, options)) chunks.push(chunk);
    return Buffer.concat(chunks);
  }

  it("gives the bytes, whole and any range", async () => {
    const id = await ended();
    const devmesh = portable.createDevmesh({ baseUrl: url, token: bed.ownerSecret });
    expect((await read(devmesh, id)).equals(bytes)).to.equal(true);
    const place = fc.option(fc.nat({ max: bytes.length + 5 }), { nil: undefined });
    await fc.assert(
      fc.asyncProperty(place, place, async (start, end) => {
        const range = { ...(start !== undefined && { start }), ...(end !== undefined && { end }) };
        const expected = bytes.subarray(start ?? 0, Math.max(end ?? bytes.length, start ?? 0));
        expect((await read(devmesh, id, { range })).equals(expected)).to.equal(true);
      }),
      { numRuns: 30 },
    );
  });

  it("goes on where a connection broke, and gives every byte once", async () => {
    const id = await ended();
    const random = new SeededRandom(20_260);
    const plan = (index: number) =>
      index < 8 ? { cutAfterBytes: between(random, 1_000, 90_000) } : {};
    const proxy = await TcpProxy.open({ upstreamPort: await bed.listen(), plan });
    try {
      const retry = { maxRetries: 10, baseDelayMs: 1 };
      const baseUrl = `http://127.0.0.1:${proxy.port}`;
      const devmesh = createDevmesh({ baseUrl, token: bed.ownerSecret, retry });
      expect((await read(devmesh, id)).equals(bytes)).to.equal(true);
      expect(proxy.accepted).to.be.greaterThan(2);
      devmesh.close();
    } finally {
      await proxy.close();
    }
  });

  it("tells refusals by their reason", async () => {
    const devmesh = createDevmesh({ baseUrl: url, token: bed.ownerSecret });
    expect(await codeOf(read(devmesh, "job_0"))).to.equal("NOT_FOUND");
    const stranger = createDevmesh({ baseUrl: url, token: "dm_nobody" });
    expect(await codeOf(read(stranger, "job_0"))).to.equal("UNAUTHENTICATED");
    devmesh.close();
    stranger.close();
  });

  async function codeOf(call: Promise<unknown>): Promise<string> {
    try {
      await call;
      return "ok";
    } catch (error) {
      return (error as { reason?: string }).reason ?? (await reasonOf(Promise.reject(error)));
    }
  }

  describe("devmesh jobs log", () => {
    const cli = (...args: string[]) =>
      runCli(["jobs", "log", ...args], {
        env: { DEVMESH_URL: url, DEVMESH_TOKEN: bed.ownerSecret },
      });

    it("prints the bytes, or a range of them", async () => {
      const id = await ended();
      expect((await cli(id)).stdout.equals(bytes)).to.equal(true);
      const part = await cli(id, "--range", "10-19");
      expect(part.stdout.equals(bytes.subarray(10, 20))).to.equal(true);
      const rest = await cli(id, "--range", "299990-");
      expect(rest.stdout.equals(bytes.subarray(299_990))).to.equal(true);
    });

    it("saves them in a new file, and in no other", async () => {
      using folder = tempFolder();
      const id = await ended();
      const out = join(folder.path, "log");
      expect(JSON.parse((await cli(id, "--out", out, "--json")).out)).to.deep.equal({
        file: out,
        bytes: bytes.length,
      });
      expect(readFileSync(out).equals(bytes)).to.equal(true);
      expect((await cli(id, "--out", out)).code).to.not.equal(0);
      const none = join(folder.path, "none");
      expect((await cli("job_0", "--out", none)).code).to.equal(4);
      expect(existsSync(none)).to.equal(false);
    });

    it("refuses what it cannot do", async () => {
      for (const wrong of [
        ["--range", "9-1"],
        ["--range", "x"],
        ["--stream", "both"],
        ["--json"],
      ]) {
        expect((await cli("job_0", ...wrong)).code, wrong.join(" ")).to.equal(2);
      }
    });
  });
});
