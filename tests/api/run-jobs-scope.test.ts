/** What a token with nothing but `run:jobs` may do: the work it was given, and nothing of others. */
import { create, type DescService } from "@bufbuild/protobuf";
import type { Client } from "@connectrpc/connect";
import { AgentSchema } from "@devmesh/gen/devmesh/api/v1/agent_pb";
import { AgentService } from "@devmesh/gen/devmesh/api/v1/agent_service_pb";
import { BlobService } from "@devmesh/gen/devmesh/api/v1/blob_service_pb";
import { ContextService } from "@devmesh/gen/devmesh/api/v1/context_service_pb";
import { Isolation } from "@devmesh/gen/devmesh/api/v1/isolation_pb";
import { LogStream } from "@devmesh/gen/devmesh/api/v1/job_event_pb";
import { JobService } from "@devmesh/gen/devmesh/api/v1/job_service_pb";
import { JobStatus } from "@devmesh/gen/devmesh/api/v1/job_status_pb";
import { type Lease, RunnerService } from "@devmesh/gen/devmesh/api/v1/runner_service_pb";
import { TokenService } from "@devmesh/gen/devmesh/api/v1/token_service_pb";
import { expect } from "chai";
import { settled } from "../settled.ts";
import { Bed, reasonOf, trueSpec } from "./bed.ts";

const isolations = [Isolation.PROCESS];

/** A host with a token for `run:jobs` of its own, played by hand. */
class Host {
  readonly #bed: Bed;
  readonly #secret: string;
  readonly id: string;
  readonly tokenId: string;
  readonly runners: Client<typeof RunnerService>;

  private constructor(bed: Bed, id: string, tokenId: string, secret: string) {
    this.#bed = bed;
    this.#secret = secret;
    this.id = id;
    this.tokenId = tokenId;
    this.runners = this.client(RunnerService);
  }

  static async open(bed: Bed, id: string, labels: Record<string, string>): Promise<Host> {
    const made = await bed.client(TokenService).createToken({ name: id, scopes: ["run:jobs"] });
    const host = new Host(bed, id, made.token?.id ?? "", made.secret);
    const capabilities = [{ driver: "d", isolation: Isolation.PROCESS, available: true }];
    const about = { id, host: id, version: "0", capacity: 4, capabilities, labels };
    await host.runners.registerRunner({ runner: create(AgentSchema, about) });
    return host;
  }

  /** A client with the host's token. */
  client<T extends DescService>(service: T): Client<T> {
    return this.#bed.client(service, this.#secret);
  }

  async leases(): Promise<Lease[]> {
    const ask = { runnerId: this.id, maxJobs: 10, isolations };
    return (await this.runners.leaseJobs(ask)).leases;
  }

  /** Takes the one job that is queued. */
  async lease(): Promise<Lease> {
    const [lease] = await this.leases();
    if (lease === undefined) throw new Error("no lease");
    return lease;
  }
}

describe("a token for run:jobs", () => {
  let bed: Bed;
  /** Two hosts, each with a token of its own. */
  let a: Host;
  let b: Host;

  beforeEach(async () => {
    bed = await Bed.open();
    a = await Host.open(bed, "run_a", { zone: "eu" });
    b = await Host.open(bed, "run_b", { zone: "us" });
  });
  afterEach(() => bed.close());

  /** Lets a second go by. */
  const pass = async () => {
    bed.clock.advance(1_000);
    await settled();
  };
  const jobOf = async (id: string) => (await bed.client(JobService).getJob({ id })).job;
  const createJob = async (runnerLabels: Record<string, string> = {}) =>
    (await bed.client(JobService).createJob({ spec: { ...trueSpec, runnerLabels } })).jobId;

  describe("of another host", () => {
    /** Every write under a lease, and the sequence number that would fit. */
    const writes = (host: Host, lease: { jobId: string; epoch: number }, seq: number) => {
      const log = { stream: LogStream.STDOUT, data: Buffer.from("mine") };
      const result = { outcome: JobStatus.SUCCEEDED };
      return {
        append: host.runners.appendEvents({
          lease,
          events: [{ seq, kind: { case: "log" as const, value: log } }],
        }),
        finish: host.runners.finishJob({ lease, seq, result }),
        release: host.runners.releaseJob({ lease, detail: "" }),
      };
    };

    async function expectFenced(lease: { jobId: string; epoch: number }, seq: number) {
      const before = await jobOf(lease.jobId);
      for (const [name, call] of Object.entries(writes(b, lease, seq))) {
        expect(await reasonOf(call), name).to.equal("FENCED");
      }
      const beat = await b.runners.heartbeat({ runnerId: b.id, leases: [lease] });
      expect(beat.leases[0]?.fenced).to.equal(true);
      expect(await jobOf(lease.jobId)).to.deep.equal(before);
      const { fencedWrites } = await bed.client(JobService).getJob({ id: lease.jobId });
      expect(fencedWrites).to.deep.equal([]);
    }

    it("writes nothing under a lease that it does not hold, whatever epoch it guesses", async () => {
      const jobId = await createJob();
      const { epoch, nextSeq } = await a.lease();
      await expectFenced({ jobId, epoch }, nextSeq);
      for (let guess = 0; guess < 5; guess++) {
        if (guess !== epoch) await expectFenced({ jobId, epoch: guess }, nextSeq);
      }
      const { lastSeq } = await writes(a, { jobId, epoch }, nextSeq).append;
      expect(lastSeq).to.equal(nextSeq);
    });

    it("is told nothing of a job that has ended, not even its result", async () => {
      const jobId = await createJob();
      const { epoch, nextSeq } = await a.lease();
      const lease = { jobId, epoch };
      await a.runners.finishJob({ lease, seq: nextSeq, result: { outcome: JobStatus.SUCCEEDED } });
      await expectFenced(lease, nextSeq);
    });

    it("does not renew it either: the lease runs out", async () => {
      const jobId = await createJob();
      const { epoch } = await a.lease();
      for (let i = 0; i < 20; i++) {
        await pass();
        await b.runners.heartbeat({ runnerId: b.id, leases: [{ jobId, epoch }] });
      }
      expect((await jobOf(jobId))?.status).to.equal(JobStatus.QUEUED);
    });

    it("does not speak for its runner", async () => {
      const runner = create(AgentSchema, { id: a.id, host: "evil", version: "0", capacity: 9 });
      expect(await reasonOf(b.runners.registerRunner({ runner }))).to.equal("ALREADY_EXISTS");
      const runnerId = a.id;
      expect(await reasonOf(b.runners.heartbeat({ runnerId }))).to.equal("NOT_FOUND");
      await createJob();
      expect(await reasonOf(b.runners.leaseJobs({ runnerId, maxJobs: 1, isolations }))).to.equal(
        "NOT_FOUND",
      );
      expect((await a.lease()).jobToken).to.match(/^dmj_/);
    });
  });

  it("is refused all that is not a runner's", async () => {
    const jobId = await createJob();
    const client = { jobs: a.client(JobService), tokens: a.client(TokenService) };
    const refused = {
      get: client.jobs.getJob({ id: jobId }),
      list: client.jobs.listJobs({}),
      create: client.jobs.createJob({ spec: trueSpec }),
      tokens: client.tokens.createToken({ name: "x", scopes: ["run:jobs"] }),
      agents: a.client(AgentService).listAgents({}),
      context: a.client(ContextService).buildContextPack({ task: "x", budgetTokens: 10 }),
    };
    for (const [name, call] of Object.entries(refused)) {
      expect(await reasonOf(call), name).to.equal("SCOPE_MISSING");
    }
  });

  it("carries workspaces and artifacts, and asks the plane with the job's own token", async () => {
    const blobs = a.client(BlobService);
    const data = Buffer.from("content");
    const sha256 = "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73";
    expect((await blobs.statBlob({ sha256 })).exists).to.equal(false);
    await blobs.putBlob(
      (async function* () {
        yield { sha256, data };
      })(),
    );
    const got: Uint8Array[] = [];
    for await (const piece of blobs.getBlob({ sha256 })) got.push(piece.data);
    expect(Buffer.concat(got).toString()).to.equal("content");
    await createJob();
    const { jobToken } = await a.lease();
    const plane = bed.client(ContextService, jobToken);
    const call = plane.buildContextPack({ task: "x", budgetTokens: 10 });
    // The plane of this bed is away: the door let the call pass.
    expect(await reasonOf(call)).to.not.be.oneOf(["SCOPE_MISSING", "UNAUTHENTICATED"]);
  });

  it("that is revoked ends at once, and what it held goes back", async () => {
    const jobId = await createJob();
    const { epoch, nextSeq } = await a.lease();
    await bed.client(TokenService).revokeToken({ id: a.tokenId });
    const lease = { jobId, epoch };
    const call = a.runners.finishJob({
      lease,
      seq: nextSeq,
      result: { outcome: JobStatus.FAILED },
    });
    expect(await reasonOf(call)).to.equal("UNAUTHENTICATED");
    for (let i = 0; i < 20; i++) {
      await pass();
      await b.runners.heartbeat({ runnerId: b.id });
    }
    // After the wait before another attempt it is the other host's.
    expect((await b.lease()).job?.attempt).to.equal(2);
  });

  it("gets jobs that ask for its runner's labels, and why tells of those that nobody has", async () => {
    const eu = await createJob({ zone: "eu" });
    const nobody = await createJob({ zone: "mars", disk: "ssd" });
    expect(await b.leases()).to.deep.equal([]);
    const [lease] = await a.leases();
    expect(lease?.job?.id).to.equal(eu);
    const { blocks } = await bed.client(JobService).explainJob({ id: nobody });
    expect(blocks.map(({ kind, message }) => [kind, message])).to.deep.equal([
      ["no_label", "no runner with the labels disk=ssd, zone=mars takes jobs"],
    ]);
    const mixed = await createJob({ zone: "eu", disk: "ssd" });
    const why = await bed.client(JobService).explainJob({ id: mixed });
    expect(why.blocks[0]).to.deep.include({
      message: "no runner with label disk=ssd takes jobs",
      remedy: "start one: devmesh runner --join URL --labels disk=ssd,zone=eu",
    });
    const { agents } = await bed.client(AgentService).listAgents({});
    const labels = Object.fromEntries(agents.map((agent) => [agent.id, agent.labels]));
    expect(labels).to.deep.equal({ run_a: { zone: "eu" }, run_b: { zone: "us" } });
  });

  it("of a drained runner gets nothing, and why says so", async () => {
    await bed.client(AgentService).drainAgent({ id: a.id });
    const id = await createJob({ zone: "eu" });
    expect(await a.leases()).to.deep.equal([]);
    const { blocks } = await bed.client(JobService).explainJob({ id });
    expect(blocks[0]?.message).to.equal("no runner with label zone=eu takes jobs");
    await bed.client(AgentService).resumeAgent({ id: a.id });
    expect(await a.leases()).to.have.length(1);
  });

  it("presents no labels that are none", async () => {
    const wrong: Record<string, string>[] = [
      { "": "x" },
      { "a b": "x" },
      { a: "x\n" },
      { a: "b,c" },
    ];
    for (const labels of wrong) {
      const runner = create(AgentSchema, { id: "run_x", host: "h", capacity: 1, labels });
      const call = a.runners.registerRunner({ runner });
      expect(await reasonOf(call), JSON.stringify(labels)).to.equal("INVALID_FIELD");
      const spec = { ...trueSpec, runnerLabels: labels };
      const made = bed.client(JobService).createJob({ spec });
      expect(await reasonOf(made), JSON.stringify(labels)).to.equal("INVALID_FIELD");
    }
  });
});
