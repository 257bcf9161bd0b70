/** A small run of `devmesh chaos` on each store, as its users start it. */
import { expect } from "chai";
import { engineKinds } from "../../chaos/engine.ts";
import { leftoverKinds } from "../../chaos/leftovers.ts";
import { runProgram } from "../e2e/program.ts";

describe("devmesh chaos", function () {
  this.timeout(600_000);

  const run = (args: readonly string[]) =>
    runProgram({
      args: ["chaos", ...args],
      env: { HOME: process.env.HOME ?? "/", TMPDIR: process.env.TMPDIR ?? "/tmp" },
      limitMs: 540_000,
    });

  for (const store of ["sqlite", "postgres"]) {
    it(`kills six times on ${store}, and everything holds`, async function () {
      const { code, out, err } = await run([
        "--seed",
        "5",
        "--kills",
        "6",
        "--store",
        store,
        "--json",
      ]);
      const missing = /"message":"(there is no (Postgres|sandbox)[^"]*)"/.exec(err);
      if (missing !== null) {
        console.log(`    skipped: ${missing[1]}`);
        return this.skip();
      }
      expect(err.split("\n")[0]).to.include("seed 5");
      expect(code, err).to.equal(0);
      const summary = JSON.parse(out.trimEnd().split("\n").at(-1) ?? "") as Record<string, number>;
      expect(summary).to.include({ seed: 5, store, kills: 6, ok: true });
      expect(summary).to.include({ lost: 0, doubledKeys: 0, logBytesLost: 0, logBytesDoubled: 0 });
      expect(summary).to.include({ orphans: 0, unfinished: 0, problems: 0, faults: 0 });
      expect(summary.acknowledged).to.be.greaterThan(0);
      expect(summary.logBytes).to.be.greaterThan(0);
    });
  }

  it("kills sandboxes and what they are made of, and nothing is left or stuck", async function () {
    // Virtual machines take minutes to boot where the host is busy.
    const kinds = ["--isolations", "process,container"];
    const args = ["--sandboxes", ...kinds, "--seed", "5", "--kills", "4", "--json"];
    const { code, out, err } = await run(args);
    const missing = /"message":"(there is no sandbox[^"]*)"/.exec(err);
    if (missing !== null) {
      console.log(`    skipped: ${missing[1]}`);
      return this.skip();
    }
    for (const line of err.match(/^without .*$/gm) ?? []) console.log(`    ${line}`);
    expect(code, err).to.equal(0);
    const summary = JSON.parse(out.trimEnd().split("\n").at(-1) ?? "") as Record<string, unknown>;
    expect(summary).to.include({ kills: 4, orphans: 0, stuck: 0, problems: 0, ok: true });
    const left = [...engineKinds, ...leftoverKinds, "lease"];
    expect(summary.orphansByKind).to.deep.equal(Object.fromEntries(left.map((kind) => [kind, 0])));
    expect(summary.isolations).to.include("process");
    expect(summary.sandboxes).to.be.greaterThan(0);
  });

  it("refuses what it does not know with status 2, and tells its options", async () => {
    const wrong = await run(["--store", "mysql"]);
    expect(wrong.code).to.equal(2);
    expect(wrong.err).to.include("--store");
    const kind = await run(["--sandboxes", "--isolations", "process,gvisor"]);
    expect(kind.code).to.equal(2);
    expect(kind.err).to.include("--isolations");
    const help = await run(["--help"]);
    expect(help.code).to.equal(0);
    expect(help.out).to.include("--kills");
  });
});
