/** What every blob store holds to. */
import { createHash } from "node:crypto";
import { expect } from "chai";
import { reasonOf } from "../jobs/job-store.suite.bed.ts";
import type { BlobStore } from "./blob-store.ts";

/** How the tests get stores. */
export interface BlobStoreBed {
  /** An empty store. */
  fresh(limits: { readonly maxBytes: number }): Promise<BlobStore>;
  /** How many blobs the place has, whole or not. Absent: only whole ones can be there. */
  count?(): Promise<number>;
}

const maxBytes = 1 << 20;

const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

async function* pieces(...parts: Uint8Array[]): AsyncIterable<Uint8Array> {
  yield* parts;
}

async function* broken(part: Uint8Array): AsyncIterable<Uint8Array> {
  yield part;
  throw new Error("the sender is gone");
}

async function read(data: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const part of data) {
    expect(part.byteLength).to.be.within(1, 256 * 1024);
    parts.push(part);
  }
  return Buffer.concat(parts);
}

/** Declares the tests. */
export function blobStoreSuite(bed: BlobStoreBed): void {
  const hello = Buffer.from("hello");
  const expectCount = async (wanted: number) => {
    if (bed.count) expect(await bed.count()).to.equal(wanted);
  };
  let store: BlobStore;
  beforeEach(async () => {
    store = await bed.fresh({ maxBytes });
  });

  it("gives back what it was given", async () => {
    const large = Buffer.alloc(700_001, "abc");
    for (const blob of [hello, Buffer.alloc(0), large]) {
      const name = sha256(blob);
      const { sizeBytes } = await store.put(name, pieces(blob.subarray(0, 3), blob.subarray(3)));
      expect(sizeBytes).to.equal(blob.byteLength);
      expect(await store.stat(name)).to.equal(blob.byteLength);
      expect((await read(store.get(name))).equals(blob)).to.equal(true);
    }
  });

  it("knows no other blob", async () => {
    for (const name of [sha256(hello), "", "../../etc/passwd", `${sha256(hello)}\0`]) {
      expect(await store.stat(name)).to.equal(undefined);
      expect(await reasonOf(read(store.get(name)))).to.equal("NOT_FOUND");
    }
  });

  it("refuses content with another hash, and a name that is none", async () => {
    for (const name of [sha256(Buffer.from("bye")), "../x", "", sha256(hello).toUpperCase()]) {
      expect(await reasonOf(store.put(name, pieces(hello)))).to.equal("INVALID_FIELD");
      expect(await store.stat(name)).to.equal(undefined);
    }
    await expectCount(0);
  });

  it("refuses content beyond the limit", async () => {
    const most = Buffer.alloc(maxBytes);
    const call = store.put(sha256(most), pieces(most, Buffer.alloc(1)));
    expect(await reasonOf(call)).to.equal("TOO_LARGE");
    await expectCount(0);
    await store.put(sha256(most), pieces(most));
    expect(await store.stat(sha256(most))).to.equal(maxBytes);
  });

  it("leaves nothing behind when the sender breaks off", async () => {
    let said = "";
    try {
      await store.put(sha256(hello), broken(hello));
    } catch (error) {
      said = String(error);
    }
    expect(said).to.contain("the sender is gone");
    expect(await store.stat(sha256(hello))).to.equal(undefined);
    await expectCount(0);
  });

  it("leaves a blob that is there as it is, and holds the sender to the hash", async () => {
    await store.put(sha256(hello), pieces(hello));
    expect(await store.put(sha256(hello), pieces(hello))).to.deep.equal({ sizeBytes: 5 });
    const call = store.put(sha256(hello), pieces(Buffer.from("other")));
    expect(await reasonOf(call)).to.equal("INVALID_FIELD");
    expect(String(await read(store.get(sha256(hello))))).to.equal("hello");
    await expectCount(1);
  });

  it("takes the same blob many times at once", async () => {
    const puts = Array.from({ length: 8 }, () => store.put(sha256(hello), pieces(hello)));
    await Promise.all(puts);
    expect(String(await read(store.get(sha256(hello))))).to.equal("hello");
    await expectCount(1);
  });

  it("lists the blobs it has, in the order of their names", async () => {
    const blobs = ["a", "b", "c", "d"].map((text) => Buffer.from(text));
    for (const blob of blobs) await store.put(sha256(blob), pieces(blob));
    const refused = store.put(sha256(hello), pieces(Buffer.from("other")));
    expect(await reasonOf(refused)).to.equal("INVALID_FIELD");
    const names: string[] = [];
    for await (const name of store.list()) names.push(name);
    expect(names).to.deep.equal(blobs.map(sha256).sort());
  });

  it("keeps no hold on the caller's bytes", async () => {
    const bytes = Buffer.from("hello");
    const name = sha256(bytes);
    await store.put(name, pieces(bytes));
    bytes.fill(0);
    expect(String(await read(store.get(name)))).to.equal("hello");
  });
}
