/** `devmesh runner --join`: what it says when it cannot, and how it ends, whatever its clock shows. */
import { writeFileSync } from "node:fs";
import { type AddressInfo, connect, type Socket } from "node:net";
import { join } from "node:path";
import { createServer } from "node:tls";
import { pathToFileURL } from "node:url";
import { expect } from "chai";
import { makeCertificate } from "../../scripts/parts/certificate.ts";
import { freePort } from "../../scripts/parts/free-port.ts";
import { JobStatus } from "../../sdk/ts/src/node.ts";
import { log, need } from "../parts/need.ts";
import { processesWith } from "./processes.ts";
import { marker, RemoteBed } from "./remote-runner.bed.ts";
import { until, within } from "./wait.ts";

const hourMs = 3_600_000;

/** Longer than a lease lives without being renewed. */
const long = "i=0; while [ $i -lt 30 ]; do i=$((i+1)); echo line $i; sleep 0.1; done";
const forEver = "echo started; sleep 600";

describe("a runner that joins", function () {
  this.timeout(180_000);
  let bed: RemoteBed;
  before(async () => {
    bed = await RemoteBed.open("127.0.0.1", { LEASE_TTL_MS: "1500" });
  });
  after(() => bed?.close());

  const start = { labels: "zone=none" };

  describe("says plainly why it does not", () => {
    async function expectEnd(
      input: Partial<Parameters<RemoteBed["startRunner"]>[0]>,
      said: RegExp,
      code: number,
    ) {
      const program = await bed.startRunner({ name: "failing", ...start, ...input });
      expect(await within("it ends", program.ended), program.err()).to.equal(code);
      expect(program.err()).to.match(said);
      expect(program.err()).to.not.match(/\n\s+at /);
    }

    it("with a token that is unknown, or may not run jobs", async () => {
      const unknown = { token: `dm_${"x".repeat(43)}` };
      await expectEnd(unknown, /refuses this runner: the token is unknown.*UNAUTHENTICATED/, 3);
      const { secret } = await bed.devmesh.tokens.create({ name: "r", scopes: ["read:jobs"] });
      await expectEnd({ token: secret }, /lacks the scope run:jobs.*SCOPE_MISSING/, 3);
    });

    it("where nobody answers, or somebody else does", async () => {
      const url = `http://127.0.0.1:${await freePort()}`;
      await expectEnd({ url }, /cannot be reached: .*ECONNREFUSED.*UNAVAILABLE/, 7);
      const tls = bed.url.replace("http:", "https:");
      await expectEnd({ url: tls }, /cannot be reached: /, 7);
    });

    it("with words that are wrong", async () => {
      await expectEnd({ labels: "a b" }, /--labels: "a b" is not KEY=VALUE/, 2);
      await expectEnd({ labels: "a=1,a=2" }, /--labels: a label is there twice/, 2);
      await expectEnd({ url: "ftp://x" }, /--join: "ftp:\/\/x" is not http/, 2);
      const env = { SANDBOX_DRIVERS: "magic" };
      await expectEnd({ env }, /SANDBOX_DRIVERS: there is no magic/, 2);
    });

    it("into a folder that another one uses", async () => {
      const { program } = await bed.join({ name: "twice", ...start });
      await expectEnd({ name: "twice" }, /another devmesh uses the data folder/, 1);
      expect(await program.end("SIGTERM")).to.equal(0);
    });
  });

  it("waits for a backend that is not there yet, where it is told to", async () => {
    const url = `http://127.0.0.1:${await freePort()}`;
    const env = { RUNNER_JOIN_WAIT: "true" };
    const program = await bed.startRunner({ name: "waits", ...start, url, env });
    await until("it says that it waits", () => /is waited for/.test(program.out() + program.err()));
    expect(program.child.exitCode).to.equal(null);
    program.child.kill("SIGKILL");
    await program.ended;
  });

  for (const [name, shiftMs] of Object.entries({ ahead: hourMs, behind: -hourMs })) {
    it(`keeps its leases with a clock that is an hour ${name}`, async () => {
      const preload = join(bed.folder.path, `${name}.mjs`);
      writeFileSync(
        preload,
        `const Real = Date;
globalThis.Date = class extends Real {
  constructor(...args) { if (args.length === 0) super(Real.now() + ${shiftMs}); else super(...args); }
  static now() { return Real.now() + ${shiftMs}; }
};
`,
      );
      const env = { NODE_OPTIONS: `--import=${pathToFileURL(preload).href}` };
      const { program, id } = await bed.join({ name, labels: `clock=${name}`, env });
      const jobId = await bed.start(long, { clock: name });
      const result = await bed.devmesh.jobs.wait(jobId);
      expect(result, result.message).to.include({ outcome: JobStatus.SUCCEEDED });
      const job = await bed.devmesh.jobs.get(jobId);
      expect([job.attempt, job.runner]).to.deep.equal([1, id]);
      expect((await bed.devmesh.jobs.inspect(jobId)).fencedWrites).to.deep.equal([]);
      expect((await bed.story(jobId)).log.split("\n")).to.have.length(31);
      expect(await program.end("SIGTERM")).to.equal(0);
      // It did have another time than everybody else.
      const said = /"ts":"([^"]+)"/.exec(program.out() + program.err())?.[1] ?? "";
      expect(Math.abs(Date.parse(said) - Date.now())).to.be.greaterThan(hourMs / 2);
    });
  }

  it("gives its jobs back when it is told to end, without counting the attempt", async () => {
    const mark = marker();
    const { program } = await bed.join({ name: "ends", labels: "pool=ends" });
    const jobId = await bed.start(`${forEver} # ${mark}`, { pool: "ends" });
    await bed.untilLine(jobId, "started\n");
    expect(await program.end("SIGTERM")).to.equal(0);
    const job = await bed.devmesh.jobs.get(jobId);
    expect(job).to.include({ status: JobStatus.QUEUED, attempt: 0 });
    expect(processesWith(mark)).to.deep.equal([]);
    await bed.devmesh.jobs.cancel(jobId);
  });

  it("ends when its token is revoked, kills what it ran, and another one does it", async () => {
    const mark = marker();
    const { id, secret } = await bed.runnerToken("revoked");
    const runner = { name: "revoked", labels: "pool=revoked", token: secret };
    const { program } = await bed.join(runner);
    const jobId = await bed.start(`${forEver} # ${mark}`, { pool: "revoked" });
    await bed.untilLine(jobId, "started\n");
    await bed.devmesh.tokens.revoke(id);
    expect(await within("it ends", program.ended)).to.equal(3);
    expect(program.err()).to.match(/refuses this runner: the token is unknown, expired or revoked/);
    expect(processesWith(mark)).to.deep.equal([]);
    const other = await bed.join({ name: "heir", labels: "pool=revoked" });
    await until("the job runs again", async () => {
      const { attempt, runner } = await bed.devmesh.jobs.get(jobId);
      return attempt === 2 && runner === other.id;
    });
    await bed.devmesh.jobs.cancel(jobId);
    await bed.devmesh.jobs.wait(jobId);
    expect(await other.program.end("SIGTERM")).to.equal(0);
  });

  it("goes by TLS, and by nothing that it does not trust", async function () {
    const { key, cert, caPath } = need(this, await makeCertificate(bed.folder.path, { log }));
    const sockets = new Set<Socket>();
    const proxy = createServer({ key, cert, ALPNProtocols: ["h2", "http/1.1"] }, (outer) => {
      const inner = connect(Number(new URL(bed.url).port), "127.0.0.1");
      for (const [one, other] of [[outer, inner] as const, [inner, outer] as const]) {
        sockets.add(one);
        one.on("error", () => other.destroy());
        one.once("close", () => other.destroy());
        one.pipe(other);
      }
    });
    proxy.on("tlsClientError", () => {});
    await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
    try {
      const url = `https://localhost:${(proxy.address() as AddressInfo).port}`;
      const stranger = await bed.startRunner({ name: "stranger", ...start, url });
      expect(await within("it ends", stranger.ended)).to.equal(7);
      expect(stranger.err()).to.match(/cannot be reached: .*certificate/);
      const env = { NODE_EXTRA_CA_CERTS: caPath };
      const { program, id } = await bed.join({ name: "tls", labels: "way=tls", url, env });
      const jobId = await bed.start("echo by TLS", { way: "tls" });
      const result = await bed.devmesh.jobs.wait(jobId);
      expect(result, result.message).to.include({ outcome: JobStatus.SUCCEEDED });
      expect((await bed.devmesh.jobs.get(jobId)).runner).to.equal(id);
      expect(await program.end("SIGTERM")).to.equal(0);
    } finally {
      for (const socket of sockets) socket.destroy();
      proxy.close();
    }
  });
});
