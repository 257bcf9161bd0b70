/** The nouns over every transport, against the contract in memory. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createRouterTransport } from "@connectrpc/connect";
import { createDevmesh, type Devmesh, JobStatus } from "@devmesh/sdk";
import { createDevmesh as createNodeDevmesh } from "@devmesh/sdk/node";
import { expect } from "chai";
import { collect } from "./collect.ts";
import { FakeDevmesh, ownerSecret } from "./fake/fake-devmesh.ts";
import { everyByte } from "./fake/fake-programs.ts";

interface Bed {
  readonly devmesh: Devmesh;
  readonly fake: FakeDevmesh;
  close(): Promise<void>;
}

const retry = { baseDelayMs: 1, maxDelayMs: 5 };

async function openNode(httpVersion: "1.1" | "2", unix: boolean): Promise<Bed> {
  const fake = new FakeDevmesh();
  const folder = mkdtempSync(join(tmpdir(), "devmesh-sdk-"));
  const server = await fake.listen(unix ? join(folder, "api.sock") : 0);
  const options = { baseUrl: server.url, token: ownerSecret, httpVersion, retry };
  const devmesh = createNodeDevmesh(options);
  const close = async () => {
    devmesh.close();
    await server.close();
    rmSync(folder, { recursive: true });
  };
  return { devmesh, fake, close };
}

const beds: Readonly<Record<string, () => Promise<Bed>>> = {
  fetch: async () => {
    const fake = new FakeDevmesh();
    const server = await fake.listen();
    const devmesh = createDevmesh({ baseUrl: server.url, token: ownerSecret, retry });
    return { devmesh, fake, close: server.close };
  },
  "http/2": () => openNode("2", false),
  "http/1.1": () => openNode("1.1", false),
  "http/2 over a unix socket": () => openNode("2", true),
  "http/1.1 over a unix socket": () => openNode("1.1", true),
  "in process": async () => {
    const fake = new FakeDevmesh();
    const { interceptors } = fake;
    const devmesh = createDevmesh({
      baseUrl: "http://localhost",
      token: ownerSecret,
      retry,
      transport: (setup) =>
        createRouterTransport(fake.routes, {
          router: { interceptors },
          transport: { interceptors: setup.interceptors },
        }),
    });
    return { devmesh, fake, close: async () => undefined };
  },
};

for (const [name, open] of Object.entries(beds)) {
  describe(`sdk over ${name}`, () => {
    let bed: Bed;
    beforeEach(async () => {
      bed = await open();
    });
    afterEach(() => bed.close());

    it("creates a job, watches it to its end, byte by byte", async () => {
      const { jobId, job, replayed } = await bed.devmesh.jobs.create({ command: ["bytes"] });
      expect(job.id).to.equal(jobId);
      expect(replayed).to.equal(false);
      const log: Uint8Array[] = [];
      let outcome: JobStatus | undefined;
      for await (const { kind } of bed.devmesh.jobs.watch(jobId)) {
        if (kind.case === "log") log.push(kind.value.data);
        if (kind.case === "result") outcome = kind.value.outcome;
      }
      expect(Buffer.concat(log).equals(everyByte)).to.equal(true);
      expect(outcome).to.equal(JobStatus.SUCCEEDED);
    });

    it("makes one job although the answer gets lost", async () => {
      bed.fake.faults.loseAnswers = 2;
      const { replayed } = await bed.devmesh.jobs.create({ command: ["echo"] });
      expect(replayed).to.equal(true);
      expect(bed.fake.jobs.all()).to.have.length(1);
    });

    it("refuses a key that was used with another job", async () => {
      await bed.devmesh.jobs.create({ command: ["echo", "1"] }, { idempotencyKey: "k" });
      const again = bed.devmesh.jobs.create({ command: ["echo", "2"] }, { idempotencyKey: "k" });
      expect(await reasonOf(again)).to.equal("KEY_REUSED");
    });

    it("pages through jobs and events", async () => {
      for (let i = 0; i < 7; i++) await bed.devmesh.jobs.create({ command: ["many", "5"] });
      const ids = [];
      for await (const job of bed.devmesh.jobs.list({ pageSize: 3 })) ids.push(job.id);
      expect(ids).to.have.length(7);
      expect(new Set(ids).size).to.equal(7);
      expect(await bed.devmesh.jobs.list({ pageSize: 3 }).toArray(4)).to.have.length(4);
      const last = ids[0] ?? "";
      await bed.devmesh.jobs.wait(last);
      const seqs = [];
      for await (const { seq } of bed.devmesh.jobs.events(last, { from: 2, pageSize: 2 })) {
        seqs.push(seq);
      }
      expect(seqs).to.deep.equal([2, 3, 4, 5, 6, 7, 8]);
    });

    it("filters by status", async () => {
      const { jobId } = await bed.devmesh.jobs.create({ command: ["exit", "3"] });
      const result = await bed.devmesh.jobs.wait(jobId);
      expect(result.exitCode).to.equal(3);
      const failed = await bed.devmesh.jobs.list({ statuses: ["failed"] }).toArray();
      expect(failed.map((job) => job.id)).to.deep.equal([jobId]);
      expect(await bed.devmesh.jobs.list({ statuses: ["running"] }).toArray()).to.have.length(0);
    });

    it("cancels a running job and retries it", async () => {
      const { jobId } = await bed.devmesh.jobs.create({ command: ["hang"] });
      await bed.devmesh.jobs.cancel(jobId);
      const result = await bed.devmesh.jobs.wait(jobId);
      expect(result.outcome).to.equal(JobStatus.CANCELLED);
      expect(await reasonOf(bed.devmesh.jobs.cancel(jobId))).to.equal("WRONG_STATE");
      const again = await bed.devmesh.jobs.retry(jobId);
      expect(again.jobId).to.not.equal(jobId);
      await bed.devmesh.jobs.cancel(again.jobId);
    });

    it("stores a blob once and reads it back", async () => {
      const content = Buffer.alloc(700_000, "devmesh");
      const first = await bed.devmesh.blobs.put(content);
      expect(first).to.include({ present: false, sizeBytes: content.length });
      expect(await bed.devmesh.blobs.put(content)).to.include({ present: true });
      expect(bed.fake.blobs.puts).to.equal(1);
      const chunks: Uint8Array[] = [];
      for await (const chunk of bed.devmesh.blobs.get(first.sha256)) chunks.push(chunk);
      expect(Buffer.concat(chunks).equals(content)).to.equal(true);
    });

    it("stores an empty blob", async () => {
      const stored = await bed.devmesh.blobs.put(new Uint8Array());
      expect(stored.sizeBytes).to.equal(0);
      expect(await bed.devmesh.blobs.stat(stored.sha256)).to.deep.equal({
        exists: true,
        sizeBytes: 0,
      });
    });

    it("notices a blob that is not what its name says", async () => {
      const { sha256 } = await bed.devmesh.blobs.put(Buffer.from("true"));
      bed.fake.blobs.forge(sha256, Buffer.from("false"));
      const read = collect(bed.devmesh.blobs.get(sha256));
      expect(await reasonOf(read)).to.equal("INTERNAL");
    });

    it("ingests, searches and packs context", async () => {
      const documents = Array.from({ length: 230 }, (_, i) => ({
        source: `d${i}.md`,
        text: `needle ${i}`,
      }));
      const outcomes = await bed.devmesh.context.ingest(documents);
      expect(outcomes.map(({ source }) => source)).to.deep.equal(documents.map((d) => d.source));
      const found = await bed.devmesh.context.search("needle 7", { topK: 3 });
      expect(found.items[0]?.source).to.equal("d7.md");
      const pack = await bed.devmesh.context.pack("a task", { budgetTokens: 50 });
      expect(pack.tokens).to.be.at.most(50);
    });

    it("asks a model at once and in pieces", async () => {
      const whole = await bed.devmesh.llm.infer({ input: "hello" });
      expect(whole.text).to.equal("echo: hello");
      let text = "";
      const cases = [];
      for await (const { piece } of bed.devmesh.llm.stream({ input: "hello" })) {
        cases.push(piece.case);
        if (piece.case === "text") text += piece.value;
      }
      expect(text).to.equal("echo: hello");
      expect(cases.at(0)).to.equal("route");
      expect(cases.at(-1)).to.equal("end");
      const refused = collect(bed.devmesh.llm.stream({ input: "x", model: "none" }));
      expect(await reasonOf(refused)).to.equal("MODEL_NOT_FOUND");
      expect((await bed.devmesh.llm.models()).models).to.have.length(1);
    });

    it("makes, lists and revokes tokens, and redeems a link once", async () => {
      const made = await bed.devmesh.tokens.create({
        name: "ci",
        scopes: ["read:jobs"],
        ttlMs: 1e6,
      });
      expect((await bed.devmesh.tokens.list()).map(({ id }) => id)).to.include(made.token.id);
      expect((await bed.devmesh.tokens.revoke(made.token.id)).revokeTime).to.not.equal(undefined);
      expect((await bed.devmesh.tokens.whoami()).name).to.equal("seeded");
      const { secret } = await bed.devmesh.tokens.createLink();
      expect((await bed.devmesh.tokens.redeemLink(secret)).token.name).to.equal("console");
      expect(await reasonOf(bed.devmesh.tokens.redeemLink(secret))).to.equal("UNAUTHENTICATED");
    });

    it("lists agents and audit, and tells the system's state", async () => {
      expect((await bed.devmesh.agents.list())[0]?.id).to.equal("runner-1");
      expect(await bed.devmesh.audit.list().toArray()).to.have.length(1);
      expect((await bed.devmesh.system.get()).parts[0]?.name).to.equal("storage");
    });

    it("tells reason, metadata and request id of a refusal", async () => {
      const error = await bed.devmesh.jobs.get("nope").catch((caught: unknown) => caught);
      expect(error).to.include({ name: "DevmeshApiError", reason: "NOT_FOUND", retryable: false });
      expect(error).to.have.deep.property("metadata", { resource: "job", id: "nope" });
      expect(error).to.have.property("requestId").that.matches(/^req-/);
    });
  });
}

async function reasonOf(call: Promise<unknown>): Promise<unknown> {
  const error: unknown = await call.then(
    () => undefined,
    (caught: unknown) => caught,
  );
  return error instanceof Error && "reason" in error ? error.reason : error;
}
