/** Every vector store passes one suite; what is saved on disk is tried beside it. */
import { mkdtemp, readdir, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { vectorSpace } from "../../services/mcp/vectors/index-version.ts";
import { MemoryVectorStore } from "../../services/mcp/vectors/vector-store.memory.ts";
import { vectorStoreSuite } from "../../services/mcp/vectors/vector-store.suite.ts";
import { UsearchVectorStore } from "../../services/mcp/vectors/vector-store.usearch.ts";

describe("vector store", () => {
  describe("memory", () => {
    vectorStoreSuite(async () => new MemoryVectorStore());
  });

  describe("usearch", () => {
    let folder: string;
    beforeEach(async () => {
      folder = await mkdtemp(join(tmpdir(), "devmesh-vectors-"));
    });
    afterEach(() => rm(folder, { recursive: true, force: true }));

    vectorStoreSuite(async () => new UsearchVectorStore({ folder }));

    describe("on disk", () => {
      const space = vectorSpace("fake/small", 3);
      const vector = new Float32Array([1, 0, 0]);

      const fill = async () => {
        const store = new UsearchVectorStore({ folder });
        await store.upsert(space, [
          { chunkId: "a", vector },
          { chunkId: "gone", vector },
        ]);
        await store.remove(space, ["gone"]);
        await store.close();
      };
      const reopened = async <T>(work: (store: UsearchVectorStore) => Promise<T>): Promise<T> => {
        const store = new UsearchVectorStore({ folder });
        try {
          return await work(store);
        } finally {
          await store.close();
        }
      };

      it("is there after a restart, and goes on", async () => {
        await fill();
        await reopened((store) => store.upsert(space, [{ chunkId: "b", vector }]));
        expect(await reopened((store) => store.ids(space))).to.have.members(["a", "b"]);
        expect(await reopened((store) => store.search(space, vector, 5))).to.have.length(2);
      });

      for (const name of ["graph.usearch", "manifest.json"]) {
        it(`is empty when ${name} was cut, overwritten or lost`, async () => {
          const path = join(folder, space.id, name);
          const harm = [
            () => truncate(path, 40),
            () => writeFile(path, "x".repeat(500)),
            () => rm(path),
          ];
          for (const damage of harm) {
            await rm(folder, { recursive: true });
            await fill();
            await damage();
            expect(await reopened((store) => store.ids(space))).to.deep.equal([]);
          }
        });
      }

      it("is gone after a drop", async () => {
        await fill();
        await reopened((store) => store.drop(space));
        expect(await readdir(folder)).to.deep.equal([]);
      });

      it("refuses calls after it was closed", async () => {
        const store = new UsearchVectorStore({ folder });
        await store.close();
        const failure = await store.count(space).catch((error: unknown) => error);
        expect(failure).to.include({ reason: "UNAVAILABLE" });
      });
    });
  });
});
