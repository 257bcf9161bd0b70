import { setImmediate as settled } from "node:timers/promises";
import { expect } from "chai";
import {
  type Reach,
  Reachability,
  reachBackoff,
} from "../../web/src/features/backend/reachability.ts";
import { Announcer } from "../../web/src/ui/announcer.ts";
import { FakeClock } from "./fake/fake-clock.ts";

function setUp() {
  const clock = new FakeClock();
  const reaches: Reach[] = [];
  const backend = { isHere: false, probes: 0 };
  const reachability = new Reachability({
    clock,
    random: () => 1,
    probe: async () => {
      backend.probes++;
      return backend.isHere;
    },
    onChange: (reach) => reaches.push(reach),
  });
  return { clock, reaches, backend, reachability };
}

describe("the backend's reachability", () => {
  it("is asked again and again, each time later, until it answers", async () => {
    const { clock, reaches, backend, reachability } = setUp();
    reachability.failed();
    expect(reaches).to.deep.equal([{ state: "away", sinceMs: 0, nextTryMs: 1_000 }]);
    for (let waitMs = reachBackoff.firstMs; waitMs < reachBackoff.mostMs; waitMs *= 2) {
      const before = backend.probes;
      clock.advance(waitMs - 1);
      expect(backend.probes).to.equal(before);
      clock.advance(1);
      expect(backend.probes).to.equal(before + 1);
      await settled();
    }
    backend.isHere = true;
    clock.advance(reachBackoff.mostMs);
    await settled();
    expect(reaches.at(-1)).to.deep.equal({ state: "here" });
    clock.advance(reachBackoff.mostMs * 2);
    expect(reaches.at(-1)).to.deep.equal({ state: "here" });
  });

  it("is here as soon as any call is answered", () => {
    const { clock, reaches, backend, reachability } = setUp();
    reachability.failed();
    reachability.answered();
    clock.advance(reachBackoff.mostMs);
    expect(reaches.map(({ state }) => state)).to.deep.equal(["away", "here"]);
    expect(backend.probes).to.equal(0);
  });

  it("is asked at once on a suspicion, and when somebody wants it", async () => {
    const { reaches, backend, reachability } = setUp();
    reachability.suspect();
    reachability.suspect();
    await settled();
    expect(backend.probes).to.equal(1);
    expect(reaches.at(-1)?.state).to.equal("away");
    backend.isHere = true;
    reachability.tryNow();
    await settled();
    expect(reaches.map(({ state }) => state)).to.deep.equal(["away", "trying", "here"]);
  });
});

describe("the announcer", () => {
  it("sums up new lines and speaks at most every two seconds", () => {
    const clock = new FakeClock();
    const said: string[] = [];
    const announcer = new Announcer({ clock, say: (sentence) => said.push(sentence) });
    announcer.add(0);
    announcer.add(1);
    clock.advance(0);
    for (let i = 0; i < 10; i++) {
      announcer.add(5);
      clock.advance(100);
    }
    expect(said).to.deep.equal(["1 new line"]);
    clock.advance(1_000);
    expect(said).to.deep.equal(["1 new line", "50 new lines"]);
  });
});
