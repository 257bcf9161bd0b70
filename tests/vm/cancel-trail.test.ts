/** The runner's half of a cancel's receipt: which steps, in which order, how long after the delivery. */
import { durationMs } from "@bufbuild/protobuf/wkt";
import { expect } from "chai";
import { CancelTrail } from "../../services/vm/runner/cancel-trail.ts";

describe("CancelTrail", () => {
  let nowMs = 0;
  let trail: CancelTrail;
  beforeEach(() => {
    nowMs = 1_000.4;
    trail = new CancelTrail(() => nowMs);
  });

  const steps = () =>
    trail
      .receipt(0)
      ?.steps.map(({ name, after }) => [name, after === undefined ? -1 : durationMs(after)]);

  it("measures each step from the delivery", () => {
    trail.deliver();
    nowMs += 20;
    trail.step("signalled");
    nowMs += 5_000;
    trail.step("killed");
    trail.step("stopped");
    nowMs += 30;
    trail.step("sandbox_removed");
    expect(steps()).to.deep.equal([
      ["delivered", 0],
      ["signalled", 20],
      ["killed", 5_020],
      ["stopped", 5_020],
      ["sandbox_removed", 5_050],
    ]);
    expect(trail.receipt(3)?.processesLeft).to.equal(3);
  });

  it("is none without a delivery, whatever else was stopped", () => {
    trail.step("signalled");
    trail.step("stopped");
    expect(trail.receipt(0)).to.equal(undefined);
  });

  it("leaves out what came before the delivery", () => {
    trail.step("signalled");
    trail.deliver();
    nowMs += 7;
    trail.step("stopped");
    expect(steps()).to.deep.equal([
      ["delivered", 0],
      ["stopped", 7],
    ]);
  });

  it("takes each step once, the first time", () => {
    trail.deliver();
    nowMs += 1;
    trail.step("signalled");
    nowMs += 1;
    trail.deliver();
    trail.step("signalled");
    expect(steps()).to.deep.equal([
      ["delivered", 0],
      ["signalled", 1],
    ]);
  });
});
