/** What every settings store holds to. */
import { expect } from "chai";
import type { SettingsStore } from "./settings-store.ts";

/** How the tests get stores. */
export interface SettingsStoreBed {
  /** A store in which nothing was set. */
  fresh(): Promise<SettingsStore>;
  /** The same place as another process has it. */
  again(): Promise<SettingsStore>;
}

/** Declares the tests. */
export function settingsStoreSuite({ fresh, again }: SettingsStoreBed): void {
  let store: SettingsStore;
  beforeEach(async () => {
    store = await fresh();
  });

  it("has nothing at first", async () => {
    expect(await store.read()).to.deep.equal({ version: 0, value: "{}" });
  });

  it("keeps a document to the letter, and counts its versions", async () => {
    const value = JSON.stringify({ logLevel: "debug", features: { ünlaut: true, "'": false } });
    expect(await store.replace(0, value)).to.equal(1);
    expect(await store.read()).to.deep.equal({ version: 1, value });
    expect(await store.replace(1, "{}")).to.equal(2);
    expect(await (await again()).read()).to.deep.equal({ version: 2, value: "{}" });
  });

  it("changes nothing for who has not seen the last version", async () => {
    await store.replace(0, '{"logLevel":"warn"}');
    for (const stale of [0, 2, 7]) expect(await store.replace(stale, "{}")).to.equal(undefined);
    expect(await store.read()).to.deep.equal({ version: 1, value: '{"logLevel":"warn"}' });
  });

  it("lets one of many win", async () => {
    const stores = [store, await again()];
    const tries = Array.from({ length: 20 }, (_, i) => stores[i % 2]?.replace(0, `{"n":${i}}`));
    const versions = (await Promise.all(tries)).filter((version) => version !== undefined);
    expect(versions).to.deep.equal([1]);
    expect((await store.read()).version).to.equal(1);
  });
}
