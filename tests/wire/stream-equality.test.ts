/**
 * One job, every way to read it: the same events and the same bytes from any
 * number on, live and after the end, on one backend and across two.
 */
import { randomBytes } from "node:crypto";
import { JobService } from "@devmesh/gen/devmesh/api/v1/job_service_pb";
import { SystemClock } from "@devmesh/mesh/runtime";
import { expect } from "chai";
import fc from "fast-check";
import { Bed } from "../api/bed.ts";
import { HandRunner, type Piece } from "../api/hand-runner.ts";
import { postgresUrl } from "../conformance/store-places.ts";
import { type JobReader, jobReaders, lineOf, pageReader } from "./job-readers.ts";
import type { Served } from "./ways.ts";

/** A backend to write through and one to read through, maybe the same. */
interface Place {
  readonly writer: Bed;
  readonly reader: Bed;
}

const places: Record<string, (context: Mocha.Context) => Promise<Place>> = {
  "one backend on SQLite": async () => {
    const bed = await openBed("sqlite:api.sqlite");
    return { writer: bed, reader: bed };
  },
  "two backends on one Postgres": async (context) => {
    const storageUrl = await postgresUrl(context);
    return { writer: await openBed(storageUrl), reader: await openBed(storageUrl) };
  },
};

function openBed(storageUrl: string): Promise<Bed> {
  return Bed.open({ config: { storageUrl }, clock: new SystemClock() });
}

/** What has broken somebody's log before. */
const nasty = fc.oneof(
  fc.constantFrom(
    ...["", "\r", "\n", "\r\n", "50%\r51%\r", "\u001b[31mred\u001b[0m", "\u001b]0;title\u0007"],
    ...["\0", "a\0b", "data: x\n\n", "id: 9\nevent: error\n\n", "ж", "👩‍💻", "\ufeff", "\u2028"],
  ),
  fc.string({ unit: "binary", maxLength: 40 }),
  fc.uint8Array({ maxLength: 300 }),
  fc.constant(new Uint8Array([0xff, 0xfe, 0xc3, 0x28, 0xed, 0xa0, 0x80])),
);

/** Output of both kinds, cut anywhere: within characters and within escapes. */
const output = fc
  .array(
    fc.record({
      data: nasty.map((data) => (typeof data === "string" ? Buffer.from(data) : data)),
      stream: fc.constantFrom("stdout" as const, "stderr" as const),
      cuts: fc.array(fc.nat({ max: 300 }), { maxLength: 3 }),
    }),
    { maxLength: 30 },
  )
  .map((writes) =>
    writes.flatMap(({ data, stream, cuts }): Piece[] => {
      const places = [0, ...cuts.filter((cut) => cut < data.length).toSorted((a, b) => a - b)];
      return places.map((at, i) => ({ data: data.subarray(at, places[i + 1]), stream }));
    }),
  );

for (const [name, open] of Object.entries(places)) {
  describe(`a job's events, ${name}`, function () {
    this.timeout(180_000);
    let place: Place;
    let runner: HandRunner;
    let served: Served;
    let readers: JobReader[];

    before(async function () {
      place = await open(this);
      const { writer, reader } = place;
      runner = await HandRunner.register((service) => writer.client(service), `run_${Date.now()}`);
      const port = await reader.listen();
      const { methods } = reader.api;
      served = { engine: "connect", url: await reader.url(), port, methods };
      readers = jobReaders(served, writer.ownerSecret);
    });
    after(async () => {
      for (const reader of readers) reader.close();
      await place.reader.close();
      if (place.writer !== place.reader) await place.writer.close();
    });

    /** What the backend that took the events has of them. */
    async function truth(id: string): Promise<string[]> {
      const jobs = place.writer.client(JobService);
      const lines: string[] = [];
      for (let from = 1; from > 0; ) {
        const page = await jobs.listJobEvents({ id, from, pageSize: 1_000 });
        lines.push(...page.events.map(lineOf));
        from = page.nextFrom;
      }
      return lines;
    }

    /** All readers from all offsets, after the end. */
    async function expectAlike(
      id: string,
      offsets: readonly number[],
      pageSizes: readonly number[] = [1, 7, 1_000],
    ): Promise<void> {
      const all = await truth(id);
      const pages = pageSizes.map((size) => pageReader(served, place.writer.ownerSecret, size));
      for (const from of offsets) {
        const expected = all.slice(Math.max(0, from - 1));
        for (const reader of [...readers, ...pages]) {
          const lines = await reader.read(id, from);
          expect(lines, `${reader.name} from ${from}`).to.deep.equal(expected);
        }
      }
    }

    it("are alike on every way from any number, while they come and after", async () => {
      await fc.assert(
        fc.asyncProperty(
          output,
          fc.array(fc.nat({ max: 60 }), { minLength: 1, maxLength: 2 }),
          fc.integer({ min: 1, max: 10 }),
          async (pieces, offsets, batch) => {
            const job = await runner.start();
            // From 3 on it is for output to come.
            const live = readers.flatMap((reader) =>
              [1, 3, ...offsets].map(async (from) => ({
                name: reader.name,
                from,
                lines: await reader.read(job.id, from),
              })),
            );
            for (let at = 0; at < pieces.length; at += batch) {
              await job.write(...pieces.slice(at, at + batch));
            }
            const lastSeq = await job.finish();
            const all = await truth(job.id);
            expect(all.length).to.equal(lastSeq);
            for (const { name, from, lines } of await Promise.all(live)) {
              expect(lines, `${name} live from ${from}`).to.deep.equal(
                all.slice(Math.max(0, from - 1)),
              );
            }
            await expectAlike(job.id, [0, ...offsets]);
          },
        ),
        { numRuns: 4, endOnFailure: true },
      );
    });

    it("are alike of a job that wrote nothing, also from behind its end", async () => {
      const job = await runner.start();
      const lastSeq = await job.finish();
      await expectAlike(job.id, [0, 1, 2, lastSeq, lastSeq + 1, lastSeq + 9]);
    });

    it("are alike of a line of 10 MB", async () => {
      const line = Buffer.concat([randomBytes(5 << 20), Buffer.alloc(5 << 20, "ж")]);
      const pieces: Piece[] = [];
      // Odd, so that characters are cut.
      for (let at = 0; at < line.length; at += 65_535) {
        pieces.push({ data: line.subarray(at, at + 65_535) });
      }
      const job = await runner.start();
      await job.write(...pieces);
      await job.finish();
      await expectAlike(job.id, [1], [1_000]);
      const res = await fetch(`${served.url}/v1/jobs/${job.id}/log`, {
        headers: { authorization: `Bearer ${place.writer.ownerSecret}`, connection: "close" },
      });
      expect(Buffer.from(await res.arrayBuffer()).equals(line)).to.equal(true);
    });
  });
}
