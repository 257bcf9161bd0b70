import { expect } from "chai";
import fc from "fast-check";
import { emptyDraft, readDraft } from "../../web/src/features/jobs/job-draft.ts";
import { readFilter } from "../../web/src/features/jobs/job-filter.ts";
import { defaultOverride, toPolicy } from "../../web/src/features/models/provider-override.ts";
import { backoffMs } from "../../web/src/ui/backoff.ts";
import { parseDiff } from "../../web/src/ui/diff.ts";
import { formatAgo, formatBytes, formatDuration } from "../../web/src/ui/format.ts";
import { joinWords, splitWords } from "../../web/src/ui/words.ts";
import { patch } from "./fake/fake-world.ts";

describe("the console's small parts", () => {
  it("split what they joined into words", () => {
    fc.assert(
      fc.property(fc.array(fc.string()), (words) => {
        expect(splitWords(joinWords(words))).to.deep.equal(words);
      }),
    );
    expect(splitWords(`a "b \\"c" d\\ e ''`)).to.deep.equal(["a", 'b "c', "d e", ""]);
    expect(splitWords("'open")).to.equal(undefined);
  });

  it("read a diff by its hunks", () => {
    const files = parseDiff(patch);
    expect(files.map(({ name, added, removed }) => [name, added, removed])).to.deep.equal([
      ["src/parser.ts", 5, 3],
      ["test/parser.test.ts", 4, 0],
    ]);
    expect(files[1]?.lines.at(-1)).to.deep.equal({ kind: "add", text: "});", newLine: 9 });
  });

  it("take a removed line of dashes for a line, not for a header", () => {
    const [file] = parseDiff("--- a/x\n+++ b/x\n@@ -1,2 +1,1 @@\n--- y\n same\n");
    expect(file?.lines.map(({ kind, text }) => [kind, text])).to.deep.equal([
      ["hunk", "@@ -1,2 +1,1 @@"],
      ["remove", "-- y"],
      ["context", "same"],
    ]);
  });

  it("write sizes and times", () => {
    expect([512, 2_048, 1_048_576 * 120].map(formatBytes)).to.deep.equal([
      "512 B",
      "2.0 KiB",
      "120 MiB",
    ]);
    expect([900, 61_000, 7_260_000].map(formatDuration)).to.deep.equal([
      "0.9 s",
      "1 min 1 s",
      "2 h 1 min",
    ]);
    expect([0, 59_000, 86_400_000].map((ms) => formatAgo(0, ms))).to.deep.equal([
      "just now",
      "59 s ago",
      "1 d ago",
    ]);
  });

  it("wait between half and the whole of a bounded time", () => {
    const backoff = { firstMs: 1_000, mostMs: 30_000 };
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 100 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (attempt, random) => {
          const full = Math.min(30_000, 1_000 * 2 ** (attempt - 1));
          expect(backoffMs(backoff, attempt, random)).to.be.within(full / 2, full);
        },
      ),
    );
  });

  it("read the list's filter from the address", () => {
    const query = new URLSearchParams("status=failed&status=nonsense&type=agent&page=abc");
    expect(readFilter(query)).to.deep.equal({
      filter: { statuses: ["failed"], type: "agent" },
      pageToken: "abc",
    });
    expect(readFilter(new URLSearchParams("type=x"))).to.deep.equal({
      filter: { statuses: [] },
      pageToken: "",
    });
  });

  it("make jobs from the form, or say what is missing", () => {
    expect(readDraft(emptyDraft)).to.have.property("problem");
    expect(readDraft({ ...emptyDraft, command: "echo hi" })).to.deep.equal({
      isolation: "process",
      command: ["sh", "-c", "echo hi"],
    });
    expect(
      readDraft({
        ...emptyDraft,
        command: "npm 'run x'",
        isScript: false,
        isolation: "vm",
        timeoutMinutes: "1.5",
      }),
    ).to.deep.equal({
      isolation: "vm",
      limits: { runTimeoutMs: 90_000 },
      command: ["npm", "run x"],
    });
    expect(readDraft({ ...emptyDraft, command: "x", timeoutMinutes: "soon" })).to.have.property(
      "problem",
    );
    expect(
      readDraft({ ...emptyDraft, type: "agent", task: "do", testCommand: "npm test" }),
    ).to.deep.equal({
      isolation: "process",
      agent: { task: "do", testArgv: ["npm", "test"] },
    });
  });

  it("let the feature flags suggest where a question is answered", () => {
    expect(defaultOverride({})).to.equal("auto");
    expect(defaultOverride({ localLLMPreferred: true })).to.equal("local");
    expect(defaultOverride({ localLLMPreferred: true, enableCloudFallback: true })).to.equal(
      "local-first",
    );
    expect(toPolicy("auto", "")).to.equal(undefined);
    expect(toPolicy("local", "")).to.deep.equal({ mode: "local-only" });
    expect(toPolicy("cloud", "openai")).to.deep.equal({ mode: "cloud-first", provider: "openai" });
  });
});
