/** The watch over the tokens of open streams: one question a second for all, and none without streams. */
import { anonymous } from "@devmesh/mesh/context";
import { toDevmeshError } from "@devmesh/mesh/errors";
import { silentLogger } from "@devmesh/mesh/log";
import { TestClock } from "@devmesh/mesh/runtime";
import { expect } from "chai";
import { TokenPrincipal } from "../../services/api/tokens/token-principal.ts";
import type { TokenRecord } from "../../services/api/tokens/token-store.ts";
import { TokenWatch } from "../../services/api/tokens/token-watch.ts";
import { settled } from "../settled.ts";

function holder(id: string, jobId = ""): TokenPrincipal {
  const token: TokenRecord = {
    ...{ id, name: id, owner: "ann", secretHash: id, scopes: [], createdAtMs: 0, jobId },
    ...{ expiresAtMs: undefined, revokedAtMs: undefined },
    ...{ oldSecretHash: undefined, oldSecretEndsAtMs: undefined },
  };
  return new TokenPrincipal(token, id, []);
}

describe("token watch", () => {
  let clock: TestClock;
  let watch: TokenWatch;
  /** Ids of tokens that have ended. */
  let gone: Set<string>;
  let asked: string[][];
  let isAway: boolean;

  beforeEach(() => {
    clock = new TestClock();
    gone = new Set();
    asked = [];
    isAway = false;
    const ended = async (principals: readonly TokenPrincipal[]) => {
      asked.push(principals.map(({ id }) => id));
      if (isAway) throw new Error("the store is away");
      return principals.filter(({ id }) => gone.has(id));
    };
    watch = new TokenWatch({ tokens: { ended }, clock, logger: silentLogger() });
  });
  afterEach(() => watch.close());

  /** Starts to watch; answers the signal and how to stop. */
  function open(principal: TokenPrincipal) {
    const held = watch.watch(principal);
    if (held === undefined) throw new Error("not watched");
    return held;
  }

  async function second(): Promise<void> {
    clock.advance(1_000);
    await settled();
  }

  it("asks once a second for all streams, and ends those whose token has ended", async () => {
    const [a, b] = [open(holder("a")), open(holder("b"))];
    await second();
    gone.add("b");
    await second();
    await second();
    expect(asked).to.deep.equal([["a", "b"], ["a", "b"], ["a"]]);
    expect(a.signal.aborted).to.equal(false);
    expect(toDevmeshError(b.signal.reason).reason).to.equal("UNAUTHENTICATED");
  });

  it("asks at once for the streams of one token, or of one job's token", async () => {
    const streams = [open(holder("a")), open(holder("b", "job_1")), open(holder("c", "job_2"))];
    for (const id of ["a", "b", "c"]) gone.add(id);
    await watch.look("a");
    await watch.look("job_1");
    await watch.look("nobody");
    expect(asked).to.deep.equal([["a"], ["b"]]);
    expect(streams.map(({ signal }) => signal.aborted)).to.deep.equal([true, true, false]);
  });

  it("ends nothing while the store is away, and what has ended as soon as it is back", async () => {
    const stream = open(holder("a"));
    gone.add("a");
    isAway = true;
    await second();
    expect(stream.signal.aborted).to.equal(false);
    isAway = false;
    await second();
    expect(stream.signal.aborted).to.equal(true);
  });

  it("asks nothing when nothing is open, and again for the next stream", async () => {
    open(holder("a"))[Symbol.dispose]();
    await settled();
    expect(clock.sleeping).to.equal(0);
    await second();
    expect(asked).to.deep.equal([]);
    open(holder("b"));
    await settled();
    await second();
    expect(asked).to.deep.equal([["b"]]);
  });

  it("goes on for a stream that opens in the moment the last one closes", async () => {
    const first = open(holder("a"));
    first[Symbol.dispose]();
    const next = open(holder("b"));
    gone.add("b");
    await settled();
    await second();
    expect(next.signal.aborted).to.equal(true);
  });

  it("watches no caller without a token", () => {
    expect(watch.watch(anonymous)).to.equal(undefined);
  });
});
