/** What is told of decisions: counted by kind, numbered, bounded, and all of it before the end. */
import { TestClock } from "@devmesh/mesh/runtime";
import { expect } from "chai";
import type { ProxyDecision } from "../../../services/vm/egress/egress-proxy.ts";
import {
  type CountedDecision,
  EgressRecorder,
} from "../../../services/vm/egress/egress-recorder.ts";
import { settled } from "../../settled.ts";

const allowed: ProxyDecision = {
  ...{ allowed: true, host: "a.example", port: 443, method: "GET", path: "/", address: "1.1.1.1" },
  reason: "",
};
const refused: ProxyDecision = { ...allowed, allowed: false, address: "", reason: "NOT_ALLOWED" };

describe("egress recorder", () => {
  let clock: TestClock;
  let reports: { number: number; decisions: readonly CountedDecision[] }[];
  let notes: string[];
  let failures: unknown[];
  let failing: Error | undefined;
  let recorder: EgressRecorder;
  beforeEach(() => {
    clock = new TestClock();
    [reports, notes, failures, failing] = [[], [], [], undefined];
    recorder = new EgressRecorder({
      clock,
      report: async (number, decisions) => {
        if (failing !== undefined) throw failing;
        reports.push({ number, decisions });
      },
      note: ({ message }) => void notes.push(message),
      onFailure: (error) => failures.push(error),
    });
  });

  it("counts what is alike within a second, and numbers its reports", async () => {
    for (let i = 0; i < 3; i++) recorder.record(allowed);
    recorder.record(refused);
    await settled();
    expect(reports).to.deep.equal([]);
    clock.advance(1_000);
    await settled();
    recorder.record(allowed);
    await recorder.flush();
    expect(reports.map(({ number }) => number)).to.deep.equal([1, 2]);
    expect(reports[0]?.decisions.map(({ count }) => count)).to.deep.equal([3, 1]);
    expect(reports[1]?.decisions[0]).to.deep.equal({ ...allowed, count: 1 });
  });

  it("bounds the kinds of one report, and loses no count", async () => {
    for (let i = 0; i < 2_000; i++) recorder.record({ ...refused, host: `h${i}.example` });
    await recorder.flush();
    const decisions = reports.flatMap((report) => [...report.decisions]);
    expect(decisions.length).to.be.at.most(501);
    expect(decisions.reduce((sum, { count = 0 }) => sum + count, 0)).to.equal(2_000);
    expect(decisions.at(-1)).to.include({ host: "", reason: "NOT_ALLOWED", allowed: false });
  });

  it("tells less of an attempt that never ends", async () => {
    for (let i = 0; i < 40; i++) {
      for (let k = 0; k < 300; k++) recorder.record({ ...refused, host: `h${i}x${k}.example` });
      clock.advance(30_000);
      await settled();
    }
    await recorder.flush();
    const detailed = reports.flatMap(({ decisions }) =>
      decisions.filter(({ host }) => host !== ""),
    );
    expect(detailed.length).to.be.at.most(10_000);
    const all = reports.flatMap(({ decisions }) => [...decisions]);
    expect(all.reduce((sum, { count = 0 }) => sum + count, 0)).to.equal(12_000);
  });

  it("notes each destination's refusal once, and how many more there were", async () => {
    for (let i = 0; i < 60; i++) {
      recorder.record({ ...refused, host: `h${i}.example` });
      recorder.record({ ...refused, host: `h${i}.example`, path: "/again" });
    }
    await recorder.flush();
    expect(notes).to.have.length(51);
    expect(notes[0]).to.equal("egress refused: GET h0.example:443/ (NOT_ALLOWED)");
    expect(notes.at(-1)).to.match(/^20 more refusals/);
  });

  it("holds to the contract's bounds, and shows no secret of a path", async () => {
    const odd = {
      host: `ä${"x".repeat(300)}`,
      method: "M".repeat(30),
      path: `/${"p".repeat(2_000)}`,
    };
    recorder.record({ ...refused, ...odd });
    recorder.record({ ...refused, path: "/x?token=ghp_abcdefghijklmnopqrstuv" });
    await recorder.flush();
    const [first, second] = reports[0]?.decisions ?? [];
    expect(Buffer.byteLength(first?.host ?? "")).to.equal(253);
    expect([first?.method?.length, first?.path?.length]).to.deep.equal([20, 1024]);
    expect(second?.path).to.contain("[redacted]");
    expect(notes.join("\n")).to.not.contain("ghp_");
  });

  it("says so when it cannot tell, and takes no more", async () => {
    failing = new Error("refused for good");
    recorder.record(allowed);
    clock.advance(1_000);
    await settled();
    expect(failures).to.deep.equal([failing]);
    recorder.record(allowed);
    const error = await recorder.flush().catch((failure: unknown) => failure);
    expect(error).to.equal(failing);
    expect(failures).to.have.length(1);
  });
});
