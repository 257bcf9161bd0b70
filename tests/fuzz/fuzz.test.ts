/** A little of the fuzzer's work with a fixed seed, and everything that it has found so far. */
import { expect } from "chai";
import { runPart, send } from "./campaign.ts";
import { Http1Sender } from "./http1.ts";
import { Http2Sender } from "./http2.ts";
import { judge } from "./judge.ts";
import { type FuzzedPlatform, startFuzzed } from "./platform.ts";
import { regressions } from "./regressions.ts";
import { allTargets } from "./surface.ts";

/** Cases for each method, over all its protocols. */
const perMethod = 100;

/** Far above what the platform needs, far below what a leak of these cases would take. */
const maxRssMib = 1024;

describe("hostile input", function () {
  this.timeout(180_000);
  let platform: FuzzedPlatform;

  before(async () => {
    platform = await startFuzzed();
  });
  after(() => platform?.stop());

  for (const { name, request, outcome, field } of regressions) {
    it(`refuses ${name}`, async () => {
      const senders = {
        http1: new Http1Sender(platform.port),
        http2: new Http2Sender(platform.port),
      };
      const authorization = ["authorization", `Bearer ${platform.up.token}`] as const;
      const sent = { ...request, headers: [authorization, ...request.headers] };
      const answer = await send(platform, sent, 0, senders);
      const verdict = judge(sent, answer, platform.secrets);
      senders.http1.close();
      senders.http2.close();
      expect(verdict).to.deep.equal({ outcome, field: field ?? "", faults: [] });
    });
  }

  for (const target of allTargets()) {
    it(`${target.name} stands ${perMethod} cases`, async () => {
      const count = Math.ceil(perMethod / target.protocols.length);
      for (const protocol of target.protocols) {
        const part = { seed: 1, target, protocol, from: 0, count, untilMs: Infinity };
        const { calls, failures } = await runPart(platform, part);
        expect(failures).to.deep.equal([]);
        expect(calls).to.equal(count);
      }
    });
  }

  it("has called nothing an internal error, and holds on to little memory", () => {
    expect(platform.internalErrors()).to.deep.equal([]);
    expect(platform.rssMib()).to.be.within(1, maxRssMib);
  });
});
