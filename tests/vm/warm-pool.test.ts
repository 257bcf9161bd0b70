import { expect } from "chai";
import {
  type PoolMember,
  WarmPool,
  type WarmPoolOptions,
} from "../../services/vm/drivers/warm-pool.ts";
import { until } from "../e2e/wait.ts";

class Member implements PoolMember {
  readonly name: string;
  readonly gone: Promise<void>;
  readonly die: () => void;
  #alive = true;

  constructor(name: string) {
    this.name = name;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.gone = promise;
    this.die = () => {
      this.#alive = false;
      resolve();
    };
  }

  isAlive(): boolean {
    return this.#alive;
  }
}

/** A pool of named members, with what was made and dropped. */
function poolOf({
  perShape = 2,
  total = 4,
  fails = () => false,
  ...more
}: Partial<WarmPoolOptions<string, Member>> & { readonly fails?: () => boolean }) {
  const made: Member[] = [];
  const dropped: string[] = [];
  const pool = new WarmPool<string, Member>({
    perShape,
    total,
    ...more,
    make: async (shape) => {
      if (fails()) throw new Error("the engine is away");
      const member = new Member(`${shape}${made.length}`);
      made.push(member);
      return member;
    },
    drop: async ({ name }) => {
      dropped.push(name);
    },
  });
  return { pool, made, dropped, take: (shape: string) => pool.take(shape, shape) };
}

describe("the warm pool", () => {
  it("has nothing for a shape's first use, and is filled by it", async () => {
    const { pool, take, made } = poolOf({});
    expect(await take("a")).to.equal(undefined);
    await pool.settled();
    expect(made.map(({ name }) => name)).to.deep.equal(["a0", "a1"]);
    expect(pool.size).to.equal(2);
  });

  it("hands each member out once, however many ask at once", async () => {
    const { pool, take } = poolOf({ perShape: 3, total: 3 });
    const taken: string[] = [];
    for (let round = 0; round < 5; round++) {
      const members = await Promise.all(Array.from({ length: 7 }, () => take("a")));
      for (const member of members) if (member) taken.push(member.name);
    }
    await pool.settled();
    expect(taken.length).to.be.greaterThan(10);
    expect(new Set(taken).size).to.equal(taken.length);
  });

  it("keeps shapes apart, and makes room for the one in use", async () => {
    const { pool, take, dropped } = poolOf({ perShape: 2, total: 4 });
    for (const shape of ["a", "b", "c"]) {
      await take(shape);
      await pool.settled();
    }
    expect(pool.size).to.equal(4);
    expect(dropped).to.deep.equal(["a0", "a1"]);
    expect((await take("c"))?.name).to.match(/^c/);
    expect((await take("b"))?.name).to.match(/^b/);
  });

  it("drops who died, and never hands one out", async () => {
    const { pool, take, made, dropped } = poolOf({ perShape: 1 });
    await take("a");
    await pool.settled();
    made[0]?.die();
    expect(await take("a")).to.equal(undefined);
    await pool.settled();
    expect(dropped).to.deep.equal(["a0"]);
    expect((await take("a"))?.name).to.equal("a1");
  });

  it("lets a shape go that is no longer wanted, also while it is made", async () => {
    const { pool, take, dropped } = poolOf({});
    await take("a");
    pool.forget((shape) => shape === "a");
    await pool.settled();
    expect(pool.size).to.equal(0);
    expect(dropped).to.have.members(["a0", "a1"]);
  });

  it("answers that there is none where none can be made", async () => {
    let isAway = true;
    const { pool, take } = poolOf({ perShape: 1, fails: () => isAway });
    expect(await take("a")).to.equal(undefined);
    expect(await take("a")).to.equal(undefined);
    isAway = false;
    await take("a");
    await pool.settled();
    expect((await take("a"))?.name).to.equal("a0");
  });

  it("does not wait for one that is being made where it shall not", async () => {
    const { pool, take } = poolOf({ perShape: 1, readyOnly: true });
    expect(await Promise.all([take("a"), take("a")])).to.deep.equal([undefined, undefined]);
    await pool.settled();
    expect((await take("a"))?.name).to.equal("a0");
  });

  it("keeps no more than there is room for, and nothing of a shape that never fits", async () => {
    const sizes: Readonly<Record<string, number>> = { a: 2, b: 3, huge: 6 };
    const room = { most: 5, of: (shape: string) => sizes[shape] ?? 0 };
    const { pool, take, dropped } = poolOf({ room });
    await take("a");
    await pool.settled();
    expect(pool.size).to.equal(2);
    await take("b");
    await pool.settled();
    expect(dropped).to.deep.equal(["a0"]);
    expect(pool.size).to.equal(2);
    await take("huge");
    await pool.settled();
    expect(pool.size).to.equal(2);
  });

  it("drops what nobody wanted for too long, and makes it again when it is asked for", async () => {
    const { pool, take, dropped } = poolOf({ perShape: 1, keepMs: 1 });
    await take("a");
    await pool.settled();
    await until("it is dropped", async () => dropped.length === 1);
    expect(pool.size).to.equal(0);
    expect(await take("a")).to.equal(undefined);
    expect(pool.size).to.equal(1);
    await pool.close();
  });

  it("drops all at its end, and makes no more", async () => {
    const { pool, take, dropped } = poolOf({});
    await take("a");
    await pool.close();
    expect(dropped).to.have.members(["a0", "a1"]);
    expect(await take("a")).to.equal(undefined);
    expect(pool.size).to.equal(0);
  });
});
