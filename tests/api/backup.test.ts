/** Backups of the backend: what they carry from either dialect to either, and what restored leases are worth. */
import { createHash } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { BlobService } from "@devmesh/gen/devmesh/api/v1/blob_service_pb";
import { JobService } from "@devmesh/gen/devmesh/api/v1/job_service_pb";
import { TokenService } from "@devmesh/gen/devmesh/api/v1/token_service_pb";
import { dumpParts, verifyArchive, writeArchive } from "@devmesh/mesh/backup";
import { TestClock } from "@devmesh/mesh/runtime";
import { expect } from "chai";
import fc from "fast-check";
import { runtimeTables } from "../../services/api/backup/backup-tables.ts";
import { openStores } from "../../services/api/stores.ts";
import { postgresUrl } from "../conformance/store-places.ts";
import { until } from "../e2e/wait.ts";
import {
  backUp,
  eventsOf,
  newPlace,
  openBed,
  type Place,
  restore,
  TestRunner,
} from "./backup-bed.ts";
import { type Bed, reasonOf, trueSpec } from "./bed.ts";

type Dialect = "sqlite" | "postgres";
const dialects: readonly Dialect[] = ["sqlite", "postgres"];

describe("a backup of the backend", function () {
  this.timeout(300_000);
  let folder: string;
  let file: string;
  let serverUrl: string;
  let beds: Bed[] = [];

  before(async function () {
    serverUrl = await postgresUrl(this);
    folder = mkdtempSync(join(tmpdir(), "backup-"));
    file = join(folder, "backup.tar.gz");
  });
  afterEach(async () => {
    for (const bed of beds) await bed.close();
    beds = [];
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  const placeFor = (dialect: Dialect) =>
    newPlace(folder, dialect === "postgres" ? serverUrl : undefined);
  const open = async (place: Place) => {
    const bed = await openBed(place);
    beds.push(bed);
    return bed;
  };
  const createJob = async (bed: Bed) => {
    const { jobId } = await bed.client(JobService).createJob({ spec: trueSpec });
    return jobId;
  };

  for (const from of dialects) {
    for (const to of dialects) {
      describe(`from ${from} into ${to}`, () => {
        it("carries every row as it is", async () => {
          const logs = fc.array(fc.uint8Array({ minLength: 1, maxLength: 200 }), { maxLength: 4 });
          const message = fc.string({ unit: "grapheme", maxLength: 30 });
          const jobs = fc.array(fc.record({ logs, message }), { minLength: 1, maxLength: 4 });
          await fc.assert(
            fc.asyncProperty(jobs, async (wanted) => {
              const bed = await open(await placeFor(from));
              const runner = await TestRunner.register(bed, "run_1");
              for (const { logs, message } of wanted) {
                await createJob(bed);
                const lease = await runner.lease();
                let seq = lease.nextSeq;
                for (const data of logs) await runner.log(lease, seq++, data);
                await runner.finish(lease, seq, message.replaceAll("\0", ""));
              }
              // Ended with its lease: a restore has nothing to end.
              const first = await backUp(bed, file);
              const target = await placeFor(to);
              await restore(file, target);
              const again = await backUpAsIs(target);
              expect(again).to.deep.equal(first.sections[0]?.tables);
            }),
            { numRuns: 4 },
          );
        });

        it("lets jobs go on, and fences the runners of before", async () => {
          const before = await open(await placeFor(from));
          const runner = await TestRunner.register(before, "run_1");
          const running = await createJob(before);
          const held = await runner.lease();
          await runner.log(held, held.nextSeq, Buffer.from("ÿ\u0000 half a log"));
          const queued = await createJob(before);
          const blob = Buffer.from("a blob");
          const sha256 = createHash("sha256").update(blob).digest("hex");
          await before.client(BlobService).putBlob(
            (async function* () {
              yield { sha256, data: blob };
            })(),
          );
          await backUp(before, file);
          const lateLease = await runner.lease();
          expect(lateLease.job?.id).to.equal(queued);

          const target = await placeFor(to);
          await restore(file, target);
          const after = await open(target);
          const { ownerSecret } = before;
          const jobs = after.client(JobService, ownerSecret);
          expect((await jobs.getJob({ id: queued })).job?.id).to.equal(queued);
          const late = await TestRunner.register(after, "run_1");
          for (const lease of [held, lateLease]) {
            expect(await reasonOf(late.log(lease, lease.nextSeq + 1, blob))).to.equal("FENCED");
            expect(await reasonOf(late.finish(lease, lease.nextSeq + 1))).to.equal("FENCED");
            expect(await late.isFenced(lease)).to.equal(true);
            const job = after.client(TokenService, lease.jobToken);
            expect(await reasonOf(job.whoAmI({}))).to.equal("UNAUTHENTICATED");
          }
          const fresh = await TestRunner.register(after, "run_2");
          // The sweep finds the lease ended, whatever the time; the job may wait a little then.
          const next = () =>
            until("a job is to be run", () => {
              after.clock.advance(1_000);
              return fresh.tryLease();
            });
          const leases = [await next(), await next()];
          expect(leases.map(({ job }) => job?.id)).to.have.members([running, queued]);
          for (const lease of leases) {
            expect(lease.epoch).to.be.greaterThan(Math.floor(Date.now() / 1000) - 3600);
            await fresh.finish(lease, lease.nextSeq);
            const events = await eventsOf(after, lease.job?.id ?? "");
            expect(events.map(({ seq }) => seq)).to.deep.equal(events.map((_, i) => i + 1));
          }
          const found: Uint8Array[] = [];
          for await (const { data } of after.client(BlobService).getBlob({ sha256 })) {
            found.push(data);
          }
          expect(Buffer.concat(found).equals(blob)).to.equal(true);
        });
      });
    }
  }

  it("is not made of a store in memory", async () => {
    const bed = await open({ storageUrl: "memory:", dataDir: folder });
    expect(await reasonOf(backUp(bed, file))).to.equal("UNIMPLEMENTED");
  });

  it("has no secret in it but as a hash", async () => {
    const bed = await open(await placeFor("sqlite"));
    const { secret } = await bed
      .client(TokenService)
      .createToken({ name: "t", scopes: ["read:jobs"] });
    await backUp(bed, file);
    const text = gunzipSync(readFileSync(file)).toString("latin1");
    expect(text).to.include("secret_hash");
    for (const each of [secret, bed.ownerSecret]) expect(text).to.not.include(each);
  });

  it("leaves a target as it is when it cannot be used", async () => {
    const place = await placeFor("sqlite");
    const bed = await open(place);
    await backUp(bed, file);
    const before = readdirSync(place.dataDir, { recursive: true });
    expect(await reasonOf(restore(file, place))).to.equal("ALREADY_EXISTS");
    expect(readdirSync(place.dataDir, { recursive: true })).to.deep.equal(before);
  });

  /** The tables of a restored place, read before any backend has touched them. */
  async function backUpAsIs({ storageUrl, dataDir }: Place) {
    const stores = await openStores({ storageUrl, dataDir, clock: new TestClock() });
    const snapshot = await stores.snapshot();
    const second = join(folder, "second.tar.gz");
    try {
      const sections = [{ name: "api", parts: dumpParts(snapshot, runtimeTables) }];
      await writeFile(second, writeArchive({ devmesh: "", createTime: new Date(0), sections }));
      return (await verifyArchive(second)).sections[0]?.tables;
    } finally {
      await snapshot.close();
      await stores.close();
    }
  }
});
