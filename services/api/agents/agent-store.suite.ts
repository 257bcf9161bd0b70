/** What every registry of runners holds to. */
import { create } from "@bufbuild/protobuf";
import { AgentSchema } from "@devmesh/gen/devmesh/api/v1/agent_pb";
import { Isolation } from "@devmesh/gen/devmesh/api/v1/isolation_pb";
import { expect } from "chai";
import type { AgentStore } from "./agent-store.ts";

const dayMs = 86_400_000;

function runner(id: string, host = "host-1") {
  const capabilities = [
    {
      driver: "process",
      isolation: Isolation.PROCESS,
      available: true,
      engine: "bubblewrap 0.8.0",
    },
    {
      driver: "docker",
      isolation: Isolation.CONTAINER,
      reason: "no engine 'ü'",
      remedy: "start it",
    },
  ];
  const labels = { zone: "eu", "example.com/gpu": "" };
  return create(AgentSchema, { id, host, version: "0.1.0", capacity: 4, capabilities, labels });
}

/** How the tests get stores. */
export interface AgentStoreBed {
  /** An empty store. */
  fresh(): Promise<AgentStore>;
  /** Lets the store's clock go on by a millisecond at least. */
  tick(): Promise<void>;
}

/** Declares the tests. */
export function agentStoreSuite({ fresh, tick }: AgentStoreBed): void {
  let store: AgentStore;
  beforeEach(async () => {
    store = await fresh();
  });

  it("keeps a runner to the letter", async () => {
    await store.upsert(runner("r1"), "tok_1");
    const record = await store.get("r1");
    expect(record?.agent).to.deep.equal(runner("r1"));
    expect(record?.running).to.equal(0);
    expect(record?.lastSeenMs).to.be.greaterThan(0);
    expect(await store.get("r2")).to.equal(undefined);
  });

  it("replaces what is known of a runner", async () => {
    await store.upsert(runner("r1"), "tok_1");
    await store.touch("r1", 3, "tok_1");
    await store.upsert(runner("r1", "host-2"), "tok_1");
    const record = await store.get("r1");
    expect(record?.agent).to.deep.equal(runner("r1", "host-2"));
    expect(record?.running).to.equal(3);
    expect(await store.list(dayMs)).to.have.length(1);
  });

  it("notes signs of life of known runners", async () => {
    await store.upsert(runner("r1"), "tok_1");
    const before = await store.get("r1");
    await tick();
    expect(await store.touch("r1", 2, "tok_1")).to.equal(true);
    const after = await store.get("r1");
    expect(after?.running).to.equal(2);
    expect(after?.lastSeenMs).to.be.greaterThan(before?.lastSeenMs ?? Number.NaN);
    expect(await store.touch("r2", 0, "tok_1")).to.equal(false);
  });

  it("lets nobody but its holder speak for a runner", async () => {
    expect(await store.upsert(runner("r1"), "tok_1")).to.equal(true);
    const before = await store.get("r1");
    expect(before?.holder).to.equal("tok_1");
    await tick();
    expect(await store.upsert(runner("r1", "host-2"), "tok_2")).to.equal(false);
    expect(await store.touch("r1", 3, "tok_2")).to.equal(false);
    expect(await store.get("r1")).to.deep.equal(before);
    expect(await store.upsert(runner("r1", "host-3"), "tok_1")).to.equal(true);
    // One of before there were holders is its next one's.
    await store.upsert(runner("r2"), "");
    expect(await store.upsert(runner("r2"), "tok_2")).to.equal(true);
    expect((await store.get("r2"))?.holder).to.equal("tok_2");
  });

  it("lists runners, last heard first", async () => {
    for (const id of ["r1", "r2", "r3"]) {
      await store.upsert(runner(id), "tok_1");
      await tick();
    }
    await store.touch("r1", 1, "tok_1");
    const listed = await store.list(dayMs);
    expect(listed.map(({ agent }) => agent.id)).to.deep.equal(["r1", "r3", "r2"]);
  });

  it("leaves out runners that were heard of before the window", async () => {
    await store.upsert(runner("r1"), "tok_1");
    // A window that begins in a minute.
    expect(await store.list(-60_000)).to.deep.equal([]);
  });

  it("drains runners and lets them take jobs again", async () => {
    await store.upsert(runner("r1"), "tok_1");
    await store.upsert(runner("r2"), "tok_1");
    expect((await store.get("r1"))?.draining).to.equal(false);
    expect(await store.setDraining("r1", true)).to.equal(true);
    expect(await store.setDraining("r1", true)).to.equal(true);
    // Neither a sign of life nor another introduction ends it.
    await store.touch("r1", 1, "tok_1");
    await store.upsert(runner("r1", "host-2"), "tok_1");
    const drained = (await store.list(dayMs)).filter(({ draining }) => draining);
    expect(drained.map(({ agent }) => agent.id)).to.deep.equal(["r1"]);
    expect(await store.setDraining("r1", false)).to.equal(true);
    expect((await store.get("r1"))?.draining).to.equal(false);
    expect(await store.setDraining("r3", true)).to.equal(false);
  });

  it("takes any text", async () => {
    await store.upsert(runner("r\0", "h '\"\0"), "tok_1");
    expect(await store.list(dayMs)).to.have.length(1);
  });
}
