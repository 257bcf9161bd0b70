/** What a job leaves is uploaded whole, bounded, and under names that mean one thing. */
import { createHash } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { type Client, createClient } from "@connectrpc/connect";
import { BlobService } from "@devmesh/gen/devmesh/api/v1/blob_service_pb";
import { TestClock } from "@devmesh/mesh/runtime";
import { bindMethods, serve } from "@devmesh/mesh/server";
import { createInProcessTransport } from "@devmesh/mesh/transport";
import { expect } from "chai";
import { BlobServiceImpl } from "../../services/api/blobs/blob-service.ts";
import { MemoryBlobStore } from "../../services/api/blobs/blob-store.memory.ts";
import { guardedEntries } from "../../services/vm/drivers/tar-guard.ts";
import { storeChanges } from "../../services/vm/runner/workspace/artifacts.ts";
import { file, link, special, type Tree, tarOf } from "./archives.ts";

const { signal } = new AbortController();
const maxBytes = 1 << 30;

describe("artifacts", () => {
  let folder: string;
  let store: MemoryBlobStore;
  let blobs: Client<typeof BlobService>;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "dm-artifacts-"));
    store = new MemoryBlobStore();
    const methods = bindMethods([serve(BlobService, new BlobServiceImpl({ store }))], []);
    blobs = createClient(BlobService, createInProcessTransport({ methods }));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  async function stored(before: Tree | undefined, after: Tree, ...more: Buffer[]) {
    const old = before && { path: join(folder, "before.tar"), maxBytes };
    const fresh = { path: join(folder, "after.tar"), maxBytes };
    if (old && before) await writeFile(old.path, tarOf(before));
    await writeFile(fresh.path, tarOf(after, ...more));
    const clock = new TestClock();
    return storeChanges({ blobs, clock, before: old, after: fresh, folder, signal });
  }

  async function content(sha256: string): Promise<Buffer> {
    const chunks: Uint8Array[] = [];
    for await (const chunk of store.get(sha256)) chunks.push(chunk);
    return Buffer.concat(chunks);
  }

  it("are none where nothing changed", async () => {
    const tree: Tree = new Map([["a", file("a")]]);
    expect((await stored(tree, tree)).artifacts).to.deep.equal([]);
  });

  it("name every deleted file, those too large for the patch too, and nothing that stands in its place", async () => {
    const before: Tree = new Map([
      ["kept", file("k")],
      ["gone", file("g")],
      ["dir/very large", file(Buffer.alloc(3 << 20, "x"))],
      ["odd\nname", file("o")],
      ["now a link out", file("f")],
      ["now a pipe", file("f")],
    ]);
    const pipe = special("6", "./now a pipe");
    const after: Tree = new Map([
      ["kept", file("k")],
      ["now a link out", link("../../etc/passwd")],
    ]);
    const { artifacts, leftOut } = await stored(before, after, pipe);
    expect(artifacts.map(({ name }) => name)).to.deep.equal(["changes.patch", "changes.deleted"]);
    const list = await content(artifacts[1]?.sha256 ?? "");
    expect(list.toString()).to.equal("dir/very large\0gone\0odd\nname\0");
    expect(leftOut).to.deep.equal(["now a link out", "now a pipe"]);
  });

  it("are the patch, small files by name, and all changed files as a tar", async () => {
    const before: Tree = new Map([["kept", file("k")]]);
    const large = Buffer.alloc(5 << 20, "x");
    const after: Tree = new Map([
      ...before,
      ["l", link("kept")],
      ["large", file(large)],
      ["s", file("s")],
    ]);
    const { artifacts } = await stored(before, after);
    expect(artifacts.map(({ name }) => name)).to.deep.equal(["changes.patch", "s", "changes.tar"]);
    for (const { sha256, sizeBytes } of artifacts) {
      const bytes = await content(sha256);
      expect(createHash("sha256").update(bytes).digest("hex")).to.equal(sha256);
      expect(BigInt(bytes.length)).to.equal(sizeBytes);
    }
    const tar = await content(artifacts.at(-1)?.sha256 ?? "");
    const paths: string[] = [];
    for await (const { entry, content: bytes } of guardedEntries(Readable.from([tar]), {
      maxBytes,
    })) {
      const chunks: Buffer[] = [];
      for await (const chunk of bytes) chunks.push(Buffer.from(chunk));
      if (entry.path === "large") expect(Buffer.concat(chunks).equals(large)).to.equal(true);
      paths.push(entry.path);
    }
    expect(paths).to.deep.equal(["l", "large", "s"]);
  });

  it("never have one name twice", async () => {
    const after: Tree = new Map([
      ["changes.patch", file("mine")],
      ["changes.tar", file("mine too")],
    ]);
    const { artifacts } = await stored(undefined, after);
    expect(artifacts.map(({ name }) => name)).to.deep.equal(["changes.patch", "changes.tar"]);
    expect(String(await content(artifacts[0]?.sha256 ?? ""))).to.contain("diff --git");
  });

  it("list fifty files at most, and keep all in the tar", async () => {
    const after: Tree = new Map(
      Array.from({ length: 80 }, (_, i): [string, ReturnType<typeof file>] => [`f${i}`, file("")]),
    );
    const { artifacts, leftOut } = await stored(undefined, after);
    expect(artifacts.length).to.be.within(50, 52);
    expect(leftOut).to.deep.equal([]);
  });
});
