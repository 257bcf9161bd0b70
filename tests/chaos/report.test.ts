/** What a run tells, and that it is no success as soon as one thing does not hold. */
import { expect } from "chai";
import { type ChaosReport, describe as inWords, isOk, summaryOf } from "../../chaos/report.ts";
import { verifyHistory } from "../../chaos/verifier.ts";
import { FakePlatform } from "./fake-platform.ts";

describe("the report of chaos", () => {
  let report: ChaosReport;

  before(async () => {
    report = {
      options: {
        seed: 7,
        store: "sqlite",
        kills: 3,
        minutes: 1,
        json: true,
        sandboxes: false,
        isolations: ["process"],
        keep: false,
      },
      strikes: { killed: { up: 2, program: 1 }, stalled: { up: 1 }, cut: 0 },
      verdict: await verifyHistory([], new FakePlatform()),
      orphans: [],
      stuck: [],
      deletes: {},
      slowestDeleteMs: 0,
      isolations: [],
      faults: [],
      retried: { UNAVAILABLE: 2 },
      strikingMs: 60_000,
      totalMs: 90_000,
    };
  });

  it("has every promised field", () => {
    expect(summaryOf(report)).to.deep.include({
      ...{ seed: 7, store: "sqlite", kills: 3, killed: { program: 1, up: 2 }, acknowledged: 0 },
      ...{ lost: 0, doubledKeys: 0, logBytesLost: 0, logBytesDoubled: 0, fencedWrites: 0 },
      ...{ orphans: 0, minutes: 1.5, ok: true },
    });
    expect(inWords(report)).to.include("everything holds");
  });

  it("is no success with a problem, an orphan or a fault", () => {
    const { verdict } = report;
    const problems = [{ jobId: "job_1", what: "expected to find it" }];
    for (const [spoiled, said] of [
      [{ ...report, verdict: { ...verdict, problems } }, "job_1: expected to find it"],
      [{ ...report, orphans: ["process 1"] }, "left over: process 1"],
      [{ ...report, faults: ["up ended by itself"] }, "up ended by itself"],
    ] as const) {
      expect(isOk(spoiled)).to.equal(false);
      expect(summaryOf(spoiled)).to.include({ ok: false });
      expect(inWords(spoiled)).to.include(said);
    }
  });
});
