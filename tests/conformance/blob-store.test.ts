/** Every blob store passes one suite; what a folder must do besides is tested here. */
import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { FsBlobStore } from "../../services/api/blobs/blob-store.fs.ts";
import { MemoryBlobStore } from "../../services/api/blobs/blob-store.memory.ts";
import { blobStoreSuite } from "../../services/api/blobs/blob-store.suite.ts";

async function files(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name));
}

describe("blob store: memory", () => {
  blobStoreSuite({ fresh: async (limits) => new MemoryBlobStore(limits) });
});

describe("blob store: folder", () => {
  let folder = "";
  const fresh = async (limits = {}) => {
    await rm(folder, { recursive: true, force: true });
    folder = await mkdtemp(join(tmpdir(), "devmesh-blobs-"));
    return await FsBlobStore.open({ folder, ...limits });
  };
  after(() => rm(folder, { recursive: true, force: true }));

  blobStoreSuite({ fresh, count: async () => (await files(folder)).length });

  const blob = Buffer.from("hello");
  const name = createHash("sha256").update(blob).digest("hex");
  async function* data() {
    yield blob;
  }

  it("puts a blob into a folder of its first two digits, for its owner only", async () => {
    const store = await fresh();
    await store.put(name, data());
    const path = join(folder, name.slice(0, 2), name.slice(2));
    expect(await files(folder)).to.deep.equal([path]);
    expect((await stat(path)).mode & 0o777).to.equal(0o600);
    expect((await stat(join(path, ".."))).mode & 0o777).to.equal(0o700);
  });

  it("keeps blobs when it is opened again, and removes what cut-off puts have left", async () => {
    const store = await fresh();
    await store.put(name, data());
    await mkdir(join(folder, "incoming"), { recursive: true });
    await writeFile(join(folder, "incoming", "half"), "hel");
    const again = await FsBlobStore.open({ folder });
    expect(await again.stat(name)).to.equal(5);
    expect(await files(folder)).to.have.length(1);
  });
});
