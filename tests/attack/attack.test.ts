/** The attack suite: it finds what is made wrong on purpose, and nothing in the platform's own sandboxes. */
import { spawnSync } from "node:child_process";
import { Readable } from "node:stream";
import { expect } from "chai";
import type { Attempt } from "../../attack/attempt.ts";
import { attempts } from "../../attack/attempts/index.ts";
import { weaknesses, weakTarget } from "../../attack/fixture.ts";
import { wholeProgram } from "../../attack/prelude.ts";
import { isHeld, summaryOf } from "../../attack/report.ts";
import { attackTarget } from "../../attack/suite.ts";
import { attackLimits, type Target } from "../../attack/target.ts";
import { World } from "../../attack/world.ts";
import { findBubblewrap } from "../../scripts/parts/bubblewrap.ts";
import { toolEntry } from "../../services/up/tools.ts";
import { runProgram } from "../e2e/program.ts";
import { log, need } from "../parts/need.ts";

const env = { HOME: process.env.HOME ?? "/", TMPDIR: process.env.TMPDIR ?? "/tmp" };

describe("the attack suite", function () {
  this.timeout(300_000);
  let world: World;
  before(async () => {
    world = await World.make();
  });
  after(() => world.close());

  it("has attempts with names of their own, each a program that Perl can read", () => {
    const names = attempts.map(({ name }) => name);
    expect(new Set(names).size).to.equal(names.length);
    for (const { name, perl } of attempts) {
      const { status, stderr } = spawnSync("perl", ["-c", "-e", wholeProgram(perl)]);
      expect(status, `${name}: ${stderr}`).to.equal(0);
    }
  });

  describe("on sandboxes that are made wrong", () => {
    const known = new Set(weaknesses.flatMap(({ finds }) => finds));

    it("is shown to succeed by most of its attempts", () => {
      const names = new Set(attempts.map(({ name }) => name));
      for (const name of known) expect(names.has(name), name).to.equal(true);
      expect(known.size).to.be.at.least(40);
    });

    for (const weakness of weaknesses) {
      it(`finds ${weakness.name}`, async function () {
        const { path } = need(this, await findBubblewrap({ log }));
        if (process.getuid?.() !== 0) {
          console.log("      skipped: only root can give a sandbox what it must not have");
          this.skip();
        }
        const chosen = attempts.filter(({ name }) => weakness.finds.includes(name));
        const report = await attackTarget(weakTarget(weakness, world, path), chosen, world);
        const found = report.results.filter(({ state }) => state === "succeeded");
        expect(found.map(({ name }) => name)).to.have.members(weakness.finds);
        expect(isHeld({ targets: [report], unavailable: [] })).to.equal(false);
      });
    }
  });

  describe("on targets that prove nothing", () => {
    const attempt: Attempt = { name: "none", kind: "escape", what: "nothing", perl: "" };
    const target = (perl: () => Promise<{ output: string; exitCode: number }>): Target => ({
      ...{ name: "dead", isolation: "none", engine: "none" },
      open: async () => ({
        limits: attackLimits,
        perl,
        put: async () => {},
        get: async () => Readable.from([]),
        close: async () => {},
      }),
    });

    for (const [what, perl] of [
      ["end before they begin", async () => ({ output: "perl: not found", exitCode: 127 })],
      ["break", () => Promise.reject(new Error("the sandbox is gone"))],
    ] as const) {
      it(`does not call it held where programs ${what}`, async () => {
        const report = await attackTarget(target(perl), [attempt], world);
        expect(report.results[0]?.state).to.equal("broken");
        const whole = { targets: [report], unavailable: [] };
        expect(summaryOf(whole)).to.deep.include({ tried: 0, succeeded: 0, broken: 1, ok: false });
      });
    }

    it("does not call it held where there is no driver at all", () => {
      expect(isHeld({ targets: [], unavailable: [] })).to.equal(false);
    });
  });

  describe("as `devmesh doctor --attack`", () => {
    const run = (args: readonly string[], limitMs = 280_000) =>
      runProgram({ args: ["doctor", "--attack", ...args], env, limitMs });

    it("succeeds with nothing on the process driver", async function () {
      need(this, await findBubblewrap({ log }));
      const { code, out, err } = await run(["--driver", "process", "--json"]);
      const summary = JSON.parse(out.trimEnd().split("\n").at(-1) ?? "") as {
        tried: number;
        drivers: { driver: string; tried: number }[];
      };
      expect(summary, err).to.deep.include({ succeeded: 0, broken: 0, ok: true });
      expect(summary.tried).to.equal(attempts.length);
      expect(summary.drivers[0]).to.include({ driver: "process", tried: summary.tried });
      expect(code).to.equal(0);
    });

    it("is found in a checkout, and says where it is in an installation without it", () => {
      expect(toolEntry("attack")).to.match(/\/attack\/index\.ts$/);
      const elsewhere = new URL("none/", import.meta.url);
      expect(() => toolEntry("attack", elsewhere)).to.throw(/not in this installation.*npm run/);
    });

    it("lists what it tries, and refuses what there is not", async () => {
      const { code, out } = await run(["--list"]);
      expect(code).to.equal(0);
      expect(out.trimEnd().split("\n")).to.have.length(attempts.length);
      for (const args of [["--driver", "none"], ["--only", "none"], ["--odd"]]) {
        const refused = await run(args);
        expect(refused.code, args.join(" ")).to.equal(2);
        expect(refused.err).to.include(args[0]);
      }
    });
  });
});
