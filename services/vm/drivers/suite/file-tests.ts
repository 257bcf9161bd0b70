/** Files in and out: `put`, `get`, and what `put` refuses. */
import { createHash, randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { gzipSync } from "node:zlib";
import { expect } from "chai";
import {
  archive,
  refusal,
  run,
  type SuiteContext,
  sandboxWithPrograms,
  suiteSpec,
  unpack,
  zippedArchive,
} from "./harness.ts";

const tree = [
  { name: "plain.txt", data: "hello\n" },
  { name: "deep", type: "directory", mode: 0o750 },
  { name: "deep/er/script", mode: 0o755, data: "#!/bin/sh\n" },
  { name: "deep/secret", mode: 0o600, data: "s" },
  { name: "empty", type: "directory" },
  { name: ".git/HEAD", data: "ref: refs/heads/main\n" },
  { name: "link", type: "symlink", linkname: "deep/er/script" },
  { name: "deep/er/up", type: "symlink", linkname: "../../plain.txt" },
  { name: `${"long-name/".repeat(15)}grüße.txt`, data: "ü" },
] as const;

/** Defines the tests of `put` and `get`. */
export function fileTests(context: SuiteContext): void {
  const create = () => context.subject().driver.create(suiteSpec());

  describe("files", () => {
    it("puts a tree in and gets the same tree out", async () => {
      const sandbox = await create();
      await sandbox.put(archive(tree));
      const found = await unpack(await sandbox.get());
      for (const entry of tree) {
        const got = found.get(entry.name);
        expect(got, entry.name).to.not.equal(undefined);
        expect(got?.type).to.equal("type" in entry ? entry.type : "file");
        if ("data" in entry) expect(got?.data.toString()).to.equal(entry.data);
        if ("mode" in entry) expect(got?.mode).to.equal(entry.mode);
        if ("linkname" in entry) expect(got?.linkname).to.equal(entry.linkname);
      }
    });

    it("takes gzip, and more than one archive", async () => {
      const sandbox = await create();
      await sandbox.put(await zippedArchive([{ name: "a", data: "1" }]));
      await sandbox.put(archive([{ name: "b", data: "2" }]));
      expect([...(await unpack(await sandbox.get())).keys()].sort()).to.deep.equal(["a", "b"]);
    });

    it("keeps hard links' content", async () => {
      const sandbox = await create();
      await sandbox.put(
        archive([
          { name: "one", data: "same" },
          { name: "two", type: "link", linkname: "one" },
        ]),
      );
      const found = await unpack(await sandbox.get());
      const content = ["one", "two"].map((name) => found.get(name)?.data.toString()).join("");
      // `get` may store the second one as a link again, which has no content of its own.
      expect(content).to.be.oneOf(["samesame", "same"]);
      expect(found.has("two")).to.equal(true);
    });

    it("carries a large binary file unharmed", async () => {
      const sandbox = await create();
      const data = randomBytes(20 * 1024 * 1024);
      await sandbox.put(archive([{ name: "blob", data }]));
      const found = await unpack(await sandbox.get());
      expect(sha256(found.get("blob")?.data ?? Buffer.alloc(0))).to.equal(sha256(data));
    });

    it("shows what programs wrote, and programs what was put", async () => {
      const sandbox = await sandboxWithPrograms(context);
      expect((await run(sandbox, "writes", ["/work/new", "made inside"])).exitCode).to.equal(0);
      expect((await unpack(await sandbox.get())).get("new")?.data.toString()).to.equal(
        "made inside",
      );
      await sandbox.put(archive([{ name: "new", data: "made outside" }, { name: "none" }]));
      const { text } = await run(sandbox, "streams", ["/work/new", "/work/none"]);
      expect(text).to.equal("made outside");
    });

    it("gives an empty archive for an empty work dir", async () => {
      expect((await unpack(await (await create()).get())).size).to.equal(0);
    });

    const outside = join(tmpdir(), "devmesh-suite-escape");
    const evil = {
      "a path with ..": [{ name: "../devmesh-suite-escape", data: "x" }],
      "a path with .. inside": [{ name: "a/../../devmesh-suite-escape", data: "x" }],
      "an absolute path": [{ name: outside, data: "x" }],
      "an absolute link": [{ name: "l", type: "symlink", linkname: "/etc" }],
      "a link that climbs out": [{ name: "d/l", type: "symlink", linkname: "../../x" }],
      "a link that climbs out through another": [
        { name: "here", type: "symlink", linkname: "." },
        { name: "l", type: "symlink", linkname: "here/.." },
      ],
      "a file below a link": [
        { name: "d", type: "directory" },
        { name: "l", type: "symlink", linkname: "d" },
        { name: "l/x", data: "x" },
      ],
      "a hard link to outside": [{ name: "h", type: "link", linkname: "/etc/hostname" }],
      "a hard link to what is not in the archive": [{ name: "h", type: "link", linkname: "x" }],
      "a device node": [{ name: "null", type: "character-device" }],
      "a named pipe": [{ name: "pipe", type: "fifo" }],
    } as const;

    for (const [what, entries] of Object.entries(evil)) {
      it(`refuses ${what}`, async () => {
        const sandbox = await create();
        expect(await refusal(sandbox.put(archive(entries)))).to.equal("WORKSPACE_INVALID");
        expect(existsSync(outside)).to.equal(false);
        const found = await unpack(await sandbox.get());
        for (const [path, entry] of found) {
          expect(entry.type, path).to.be.oneOf(["file", "directory", "symlink"]);
          expect(entry.linkname, path).to.not.match(/^\/|\.\./);
        }
      });
    }

    it("refuses what is no archive, a broken one and a cut one", async () => {
      const sandbox = await create();
      const whole = await buffer(archive([{ name: "big", data: randomBytes(100_000) }]));
      const broken = gzipSync(whole);
      broken.fill(0x55, 5000, 5100);
      for (const bytes of [
        Buffer.from("not a tar".repeat(200)),
        whole.subarray(0, 50_000),
        broken,
      ]) {
        expect(await refusal(sandbox.put(Readable.from([bytes])))).to.equal("WORKSPACE_INVALID");
      }
    });

    it("refuses more than the disk limit, also zipped", async () => {
      const sandbox = await create();
      const big = await zippedArchive([{ name: "zeros", data: Buffer.alloc(120 * 1024 * 1024) }]);
      expect(await refusal(sandbox.put(big))).to.equal("WORKSPACE_INVALID");
    });

    it("passes a source's own failure on and stays usable", async () => {
      const sandbox = await create();
      const failing = new Readable({
        read() {
          this.destroy(new Error("the sender went away"));
        },
      });
      expect(await refusal(sandbox.put(failing))).to.equal("WORKSPACE_INVALID");
      await sandbox.put(archive([{ name: "after", data: "1" }]));
      expect((await unpack(await sandbox.get())).has("after")).to.equal(true);
    });

    it("cancels by the signal", async () => {
      const sandbox = await create();
      expect(await refusal(sandbox.put(archive([]), AbortSignal.abort()))).to.equal("CANCELLED");
      expect(await refusal(sandbox.get(AbortSignal.abort()))).to.equal("CANCELLED");
    });

    it("leaves nothing in the host's temporary folder", async () => {
      const before = await readdir(tmpdir());
      const probe = await mkdtemp(join(tmpdir(), "devmesh-suite-"));
      const sandbox = await create();
      await sandbox.put(archive(tree));
      await (await sandbox.get()).resume().toArray();
      await sandbox.delete();
      await rm(probe, { recursive: true });
      const added = (await readdir(tmpdir())).filter((name) => !before.includes(name));
      expect(added.filter((name) => name.includes(sandbox.id))).to.deep.equal([]);
    });
  });
}

function sha256(data: Buffer): string {
  return createHash("sha256").update(data).digest("hex");
}
