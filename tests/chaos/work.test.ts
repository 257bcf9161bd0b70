/** What a job is expected to write is what its program writes; a seed decides everything else. */
import { spawnSync } from "node:child_process";
import { expect } from "chai";
import { ChaosUsageError, readChaosOptions } from "../../chaos/options.ts";
import { Random } from "../../chaos/random.ts";
import { commandOf, drawWork, expectedOutput, workKinds } from "../../chaos/work.ts";

describe("the load's work", () => {
  for (const kind of workKinds.filter((name) => name !== "lingering")) {
    it(`is expected to write what it writes (${kind})`, () => {
      const work = { kind, tag: "chaos-w-1", count: 7, pauseMs: 0 };
      const [program = "", ...args] = commandOf(work);
      const { stdout, stderr, status } = spawnSync(program, args);
      const expected = expectedOutput(work);
      expect(stdout.equals(expected.stdout)).to.equal(true);
      expect(stderr.equals(expected.stderr)).to.equal(true);
      expect(status).to.equal(expected.exitCode);
      expect(stdout.length).to.be.greaterThan(0);
    });
  }

  it("is the same for the same seed, and streams do not disturb each other", () => {
    const draw = (random: Random) =>
      Array.from({ length: 50 }, (_, i) => drawWork(random, `t${i}`));
    const drawn = draw(new Random("7").fork("load"));
    expect(draw(new Random("7").fork("load"))).to.deep.equal(drawn);
    expect(draw(new Random("8").fork("load"))).to.not.deep.equal(drawn);
    const parent = new Random("7");
    parent.next();
    expect(draw(parent.fork("load"))).to.deep.equal(drawn);
    expect(new Set(drawn.map(({ kind }) => kind))).to.have.property("size", workKinds.length);
  });
});

describe("the options of chaos", () => {
  it("have bounds and defaults", () => {
    expect(readChaosOptions(["--seed", "7"])).to.include({ seed: 7, store: "sqlite", kills: 100 });
    const timed = readChaosOptions(["--minutes", "0.5", "--store", "postgres", "--json"]);
    expect(timed).to.include({ minutes: 0.5, store: "postgres", json: true });
    expect(timed?.kills).to.equal(Number.POSITIVE_INFINITY);
    expect(readChaosOptions(["--help"])).to.equal(undefined);
  });

  for (const argv of [
    ["--seed", "x"],
    ["--seed", "-1"],
    ["--kills", "1.5"],
    ["--kills", "0"],
    ["--minutes", "0"],
    ["--minutes", "NaN"],
    ["--store", "mysql"],
    ["--nothing"],
    ["word"],
  ]) {
    it(`refuse ${argv.join(" ")}`, () => {
      expect(() => readChaosOptions(argv)).to.throw(ChaosUsageError);
    });
  }
});
