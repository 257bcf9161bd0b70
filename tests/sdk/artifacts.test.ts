/** What comes back: whole, and never outside the folder. */
import {
  existsSync,
  lstatSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
} from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { createRouterTransport } from "@connectrpc/connect";
import { createDevmesh } from "@devmesh/sdk";
import {
  applyChanges,
  downloadArtifacts,
  packWorkspace,
  unpackArtifact,
  uploadWorkspace,
  WorkspaceError,
} from "@devmesh/sdk/node";
import { expect } from "chai";
import { type Header, pack } from "tar-stream";
import { collect } from "./collect.ts";
import { FakeDevmesh, ownerSecret } from "./fake/fake-devmesh.ts";
import { tempFolder } from "./temp-folder.ts";

type Entry = Partial<Header> & { readonly name: string; readonly content?: string };

async function tarOf(entries: readonly Entry[]): Promise<Buffer> {
  const archive = pack();
  for (const { content, ...header } of entries) {
    if (content === undefined) archive.entry(header);
    else archive.entry(header, content);
  }
  archive.finalize();
  return Buffer.concat(await collect(archive as AsyncIterable<Uint8Array>));
}

describe("artifacts", () => {
  const fake = new FakeDevmesh();
  const { interceptors } = fake;
  const devmesh = createDevmesh({
    baseUrl: "http://localhost",
    token: ownerSecret,
    transport: (setup) =>
      createRouterTransport(fake.routes, {
        router: { interceptors },
        transport: { interceptors: setup.interceptors },
      }),
  });
  const unpack = async (entries: readonly Entry[], folder: string) => {
    const { sha256 } = await devmesh.blobs.put(await tarOf(entries));
    return unpackArtifact(devmesh, { sha256 }, folder);
  };

  it("unpacks files, folders, links and modes, and replaces what is there", async () => {
    using folder = tempFolder({ "old.txt": "old" });
    const report = await unpack(
      [
        { name: "./", type: "directory" },
        { name: "./old.txt", content: "new" },
        { name: "bin/", type: "directory" },
        { name: "bin/run", content: "#!", mode: 0o755 },
        { name: "deep/er/x", content: "x".repeat(300_000) },
        { name: "link", type: "symlink", linkname: "bin/run" },
      ],
      folder.path,
    );
    expect(report.written).to.deep.equal(["old.txt", "bin/run", "deep/er/x", "link"]);
    expect(readFileSync(join(folder.path, "old.txt"), "utf8")).to.equal("new");
    expect(statSync(join(folder.path, "bin/run")).mode & 0o777).to.equal(0o755);
    expect(readFileSync(join(folder.path, "deep/er/x")).length).to.equal(300_000);
    expect(readlinkSync(join(folder.path, "link"))).to.equal("bin/run");
  });

  it("unpacks what packWorkspace packed", async () => {
    using source = tempFolder({ "a/b.txt": "b", "c.bin": "c".repeat(2_000_000) });
    using target = tempFolder();
    const workspace = await packWorkspace(source.path);
    const stored = await uploadWorkspace(devmesh, workspace);
    expect(stored).to.include({ present: false, sizeBytes: workspace.sizeBytes });
    expect(await uploadWorkspace(devmesh, workspace)).to.include({ present: true });
    await unpackArtifact(devmesh, workspace, target.path);
    await workspace.dispose();
    expect(readFileSync(join(target.path, "a/b.txt"), "utf8")).to.equal("b");
  });

  const escapes: Readonly<Record<string, readonly Entry[]>> = {
    "a parent path": [{ name: "../out", content: "x" }],
    "a parent path inside": [{ name: "a/../../out", content: "x" }],
    "an absolute path": [{ name: "/tmp/devmesh-out", content: "x" }],
    "a backslash path": [{ name: "..\\out", content: "x" }],
    "a link upwards": [{ name: "l", type: "symlink", linkname: "../out" }],
    "an absolute link": [{ name: "l", type: "symlink", linkname: "/etc" }],
    "a hard link": [{ name: "l", type: "link", linkname: "old.txt" }],
    "a device": [{ name: "d", type: "character-device" }],
    "a file through a link of the archive": [
      { name: "l", type: "symlink", linkname: "." },
      { name: "l/../../out", content: "x" },
    ],
  };
  for (const [what, entries] of Object.entries(escapes)) {
    it(`refuses ${what}`, async () => {
      using outer = tempFolder({ "ws/old.txt": "old" });
      const error = await unpack(entries, join(outer.path, "ws")).catch((e: unknown) => e);
      expect(error).to.be.instanceOf(WorkspaceError);
      expect(existsSync(join(outer.path, "out"))).to.equal(false);
      expect(existsSync("/tmp/devmesh-out")).to.equal(false);
    });
  }

  it("refuses to write through a link that is already there", async () => {
    using outer = tempFolder({ "ws/x": "", "elsewhere/x": "" });
    symlinkSync("../elsewhere", join(outer.path, "ws/l"));
    const entries = [{ name: "l/out", content: "x" }];
    const error = await unpack(entries, join(outer.path, "ws")).catch((e: unknown) => e);
    expect(error).to.be.instanceOf(WorkspaceError);
    expect(existsSync(join(outer.path, "elsewhere/out"))).to.equal(false);
  });

  it("replaces a link instead of writing to what it leads to", async () => {
    using outer = tempFolder({ "ws/x": "", target: "untouched" });
    symlinkSync("../target", join(outer.path, "ws/l"));
    await unpack([{ name: "l", content: "x" }], join(outer.path, "ws"));
    expect(lstatSync(join(outer.path, "ws/l")).isFile()).to.equal(true);
    expect(readFileSync(join(outer.path, "target"), "utf8")).to.equal("untouched");
  });

  describe("that are changes", () => {
    const put = async (name: string, content: Uint8Array) => {
      const { sha256 } = await devmesh.blobs.put(content);
      return { name, sha256 };
    };
    const deletions = (...paths: string[]) =>
      put("changes.deleted", Buffer.from(paths.map((path) => `${path}\0`).join("")));

    it("delete and write, and take folders away that they empty", async () => {
      using folder = tempFolder({
        "gone.txt": "",
        "odd\nname": "",
        "d/e/gone": "",
        "full/gone": "",
        "full/kept": "",
        "was-file": "",
        "was-dir/x": "",
        "now-folder/x": "",
      });
      symlinkSync("kept", join(folder.path, "full/link"));
      const artifacts = [
        await deletions(
          ...["gone.txt", "odd\nname", "d/e/gone", "full/gone", "full/link", "was-file"],
          ...["was-dir/x", "now-folder", "never/there"],
        ),
        await put(
          "changes.tar",
          await tarOf([
            { name: "was-file/y", content: "y" },
            { name: "was-dir", content: "z" },
          ]),
        ),
      ];
      const report = await applyChanges(devmesh, artifacts, folder.path);
      expect(report?.deleted).to.deep.equal([
        ...["gone.txt", "odd\nname", "d/e/gone", "full/gone", "full/link", "was-file"],
        "was-dir/x",
      ]);
      expect(report?.written).to.deep.equal(["was-file/y", "was-dir"]);
      const left = readdirSync(folder.path, { recursive: true, encoding: "utf8" }).sort();
      expect(left).to.deep.equal([
        ...["full", "full/kept", "now-folder", "now-folder/x"],
        ...["was-dir", "was-file", "was-file/y"],
      ]);
    });

    it("may be deletions only, or none at all", async () => {
      using folder = tempFolder({ a: "", b: "" });
      const report = await applyChanges(devmesh, [await deletions("a")], folder.path);
      expect(report).to.deep.equal({ written: [], deleted: ["a"] });
      expect(await applyChanges(devmesh, [], folder.path)).to.equal(undefined);
      expect(readdirSync(folder.path)).to.deep.equal(["b"]);
    });

    for (const path of ["../out", "a/../../out", "/etc/devmesh-out", "..\\out", ".", "l/x"]) {
      it(`delete nothing where one of them is ${path}`, async () => {
        using outer = tempFolder({ "ws/inside": "", out: "", "elsewhere/x": "" });
        symlinkSync("../elsewhere", join(outer.path, "ws/l"));
        const artifacts = [await deletions("inside", path)];
        const ws = join(outer.path, "ws");
        const error = await applyChanges(devmesh, artifacts, ws).catch((e: unknown) => e);
        expect(error).to.be.instanceOf(WorkspaceError);
        for (const name of ["ws/inside", "out", "elsewhere/x"]) {
          expect(existsSync(join(outer.path, name)), name).to.equal(true);
        }
      });
    }
  });

  it("tells a broken archive", async () => {
    using folder = tempFolder();
    for (const bytes of [Buffer.alloc(2000, "x"), gzipSync("x".repeat(2000)).subarray(0, 20)]) {
      const { sha256 } = await devmesh.blobs.put(bytes);
      const error = await unpackArtifact(devmesh, { sha256 }, folder.path).catch((e: unknown) => e);
      expect(error).to.be.instanceOf(Error);
    }
  });

  it("downloads artifacts below the folder only", async () => {
    using folder = tempFolder();
    const { sha256 } = await devmesh.blobs.put(Buffer.from("patch"));
    const artifact = (name: string) => ({
      $typeName: "devmesh.api.v1.Artifact" as const,
      name,
      sha256,
      sizeBytes: 5n,
      mediaType: "",
    });
    const out = join(folder.path, "out");
    const [saved] = await downloadArtifacts(devmesh, [artifact("logs/changes.patch")], out);
    expect(readFileSync(saved?.file ?? "", "utf8")).to.equal("patch");
    for (const name of ["../x", "/x", "", "a/../../x"]) {
      const error = await downloadArtifacts(devmesh, [artifact(name)], out).catch(
        (e: unknown) => e,
      );
      expect(error).to.be.instanceOf(WorkspaceError);
    }
    expect(existsSync(join(folder.path, "x"))).to.equal(false);
  });
});
