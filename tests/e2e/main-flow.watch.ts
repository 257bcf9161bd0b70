/** Watching a job live: four protocols, one log. */
import { expect } from "chai";
import { JobStatus } from "../../sdk/ts/src/node.ts";
import type { GetPlatform } from "./main-flow.ts";
import { within } from "./wait.ts";
import { type Seen, summaryOf, watchers } from "./watchers.ts";

const lineBytes = 5_000_000;

/** Every kind of output that a careless reader breaks. */
const awkward = [
  "printf 'text\\r\\nover\\rwrite\\n'",
  "printf 'nul\\000byte \\377\\376 \\303'",
  "printf '\\251 end\\n'",
  "echo err >&2",
  `head -c ${lineBytes} /dev/zero | tr '\\000' x`,
  "echo",
  "head -c 100000 /dev/urandom",
  "exit 3",
].join("; ");

/** The tests. */
export function watchTests(get: GetPlatform): void {
  it("shows every protocol the same bytes, live: binary, CR, NUL and a line of 5 MB", async () => {
    const { devmesh, url, token } = get();
    const { jobId: id } = await devmesh.jobs.create({ command: ["sh", "-c", awkward] });
    const names = Object.keys(watchers);
    const all = await within(
      "all watchers see the end",
      Promise.all(Object.values(watchers).map((watch) => watch({ url, token, id, from: 1 }))),
      120_000,
    );
    const { result, lastSeq } = await devmesh.jobs.get(id);
    expect(result).to.include({ outcome: JobStatus.FAILED, exitCode: 3 });
    const seqs = Array.from({ length: lastSeq }, (_, i) => i + 1);
    for (const [i, seen] of all.entries()) {
      const summary = { sha256: result?.logSha256, bytes: Number(result?.logBytes), seqs };
      expect(summaryOf(seen), names[i]).to.deep.equal(summary);
      expect(kindsOf(seen), names[i]).to.deep.equal(kindsOf(all[0] ?? []));
    }
    // The two outputs are two pipes: only within one there is an order.
    const stdout = (all[0] ?? []).filter(({ kind }) => kind === "stdout");
    const log = Buffer.concat(stdout.map(({ data }) => data));
    expect(log.includes(Buffer.from("text\r\nover\rwrite\n"))).to.equal(true);
    expect(log.includes(Buffer.from("nul\0byte \xff\xfe \xc3\xa9 end\n", "latin1"))).to.equal(true);
    expect(log.includes(Buffer.alloc(lineBytes, "x"))).to.equal(true);
  });

  for (const [name, watch] of Object.entries(watchers)) {
    it(`resumes by ${name} with nothing lost and nothing twice`, async () => {
      const { devmesh, url, token } = get();
      const program = "i=0; while [ $i -lt 12 ]; do i=$((i+1)); echo line $i; sleep 0.05; done";
      const { jobId: id } = await devmesh.jobs.create({ command: ["sh", "-c", program] });
      const seen: Seen[] = [];
      while (seen.at(-1)?.kind !== "result") {
        const from = (seen.at(-1)?.seq ?? 0) + 1;
        const more = await within(
          `events from ${from} on`,
          watch({ url, token, id, from, leaveAfter: 3 }),
        );
        expect(more.length).to.be.greaterThan(0);
        seen.push(...more);
      }
      const { result, lastSeq } = await devmesh.jobs.get(id);
      const { sha256, seqs } = summaryOf(seen);
      expect(sha256).to.equal(result?.logSha256);
      expect(seqs).to.deep.equal(Array.from({ length: lastSeq }, (_, i) => i + 1));
    });
  }
}

function kindsOf(seen: readonly Seen[]): string[] {
  return seen.map(({ seq, kind }) => `${seq} ${kind}`);
}
