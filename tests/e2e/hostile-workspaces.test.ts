/** Workspaces that no archive should hold, in and out of every kind of sandbox. */
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, readlinkSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import { JobStatus, packWorkspace, uploadWorkspace } from "../../sdk/ts/src/node.ts";
import { tempFolder } from "../sdk/temp-folder.ts";
import { entry, special, tarOf } from "../vm/archives.ts";
import { HostileBed } from "./hostile-bed.ts";
import { placesFor, type SandboxPlace } from "./sandbox-places.ts";

const odd = "odd\nname";
const manyFiles = 100_000;

/** Makes the files that `archive` cannot say: in shell, so that every sandbox can. */
const leavesOddThings = [
  "mkfifo pipe",
  "ln -s second first; ln -s first second; ln -s self self",
  "ln -s /etc/passwd out; ln -s ../.. above",
  "mknod device c 1 3 2>/dev/null || echo refused",
  "rm -f was-a-file; mkfifo was-a-file",
  "echo kept > kept",
].join("; ");

for (const place of placesFor("process", "docker", "qemu")) workspaceSuite(place);

function workspaceSuite(place: SandboxPlace): void {
  const { driver, small } = place;
  describe(`in a ${driver} sandbox a workspace`, function () {
    this.timeout(400_000);
    let bed: HostileBed | undefined;
    before(async function () {
      this.timeout(600_000);
      bed = await HostileBed.open(this, place);
    });
    after(() => bed?.close());

    const running = () => {
      if (bed === undefined) throw new Error("the platform does not run");
      return bed;
    };

    for (const [name, block, path] of [
      ["a pipe", special("6", "in/pipe"), "in/pipe"],
      ["a device", special("3", "in/device"), "in/device"],
      ["a link that leads out", entry({ type: "symlink", path: "l", target: "../x" }), "l"],
    ] as const) {
      it(`with ${name} ends with WORKSPACE_INVALID`, async () => {
        const { sha256 } = await running().devmesh.blobs.put(tarOf(new Map(), block));
        const { result } = await running().shell("true", small, { workspaceSha256: sha256 });
        expect(result).to.include({ outcome: JobStatus.FAILED, reason: "WORKSPACE_INVALID" });
        expect(result.message).to.include(path);
        await running().expectNothingLeft();
      });
    }

    it("with link loops and a newline in names goes in and comes back as it is", async () => {
      using folder = tempFolder({ [`in/${odd}`]: "before", "was-a-file": "x" });
      const { path } = folder;
      for (const [name, target] of [
        ...(["first:second", "second:first", "self:self", "round:."] as const).map((text) =>
          text.split(":"),
        ),
        [`to ${odd}`, odd],
      ]) {
        symlinkSync(target ?? "", join(path, "in", name ?? ""));
      }
      const script = `cat in/first; cat "in/to ${odd}"; echo after > "in/${odd}"; echo new > "new\nfile"`;
      const { code, out, err } = await running().cli(
        ...["run", "--json", "--isolation", place.isolation, "--disk", "32m", "--memory", "128m"],
        ...["--workspace", path, "--apply", "--", "sh", "-c", script],
      );
      expect(code, err).to.equal(0);
      expect(out).to.match(/symbolic links/i);
      expect(out).to.include("before");
      expect(readFileSync(join(path, "in", odd), "utf8")).to.equal("after\n");
      expect(readFileSync(join(path, "new\nfile"), "utf8")).to.equal("new\n");
      expect(readlinkSync(join(path, "in", "self"))).to.equal("self");
      // Talk for people keeps each thing on its line.
      for (const line of err.split("\n")) expect(line).to.not.match(/^(name|file)/);
      await running().expectNothingLeft();
    });

    it("of pipes, devices and loops that a job leaves comes back as far as it can be kept", async () => {
      using folder = tempFolder({ "was-a-file": "x" });
      const packed = await packWorkspace(folder.path);
      await uploadWorkspace(running().devmesh, packed);
      await packed.dispose();
      const { result, events } = await running().shell(leavesOddThings, small, {
        workspaceSha256: packed.sha256,
      });
      expect(result.outcome, result.message).to.equal(JobStatus.SUCCEEDED);
      const notes = events.flatMap(({ kind }) =>
        kind.case === "note" && kind.value.topic === "artifacts" ? [kind.value.payload] : [],
      );
      expect(notes).to.have.length(1);
      const { paths = [] } = (notes[0] ?? {}) as { readonly paths?: readonly string[] };
      expect(paths).to.include.members(["above", "out", "pipe", "was-a-file"]);
      const names = result.artifacts.map(({ name }) => name);
      expect(names).to.include.members(["kept", "changes.tar"]);
      // What stands in its place has not deleted it.
      expect(names).to.not.include("changes.deleted");
      await running().expectNothingLeft();
    });

    if (driver !== "process") return;

    for (const [name, make] of [
      ["a pipe", (path: string) => execFileSync("mkfifo", [path])],
      ["a device", (path: string) => execFileSync("mknod", [path, "c", "1", "3"])],
    ] as const) {
      it(`with ${name} is refused by the command line, which names it`, async function () {
        if (name === "a device" && process.getuid?.() !== 0) return this.skip();
        using folder = tempFolder({ "a.txt": "" });
        make(join(folder.path, "strange"));
        const { code, err } = await running().cli("run", "--workspace", folder.path, "--", "true");
        expect(code).to.equal(2);
        expect(err).to.match(/strange is a socket, a pipe or a device/);
      });
    }

    it(`of ${manyFiles} files goes in and comes back`, async function () {
      // Minutes, where the machine has other things to do.
      this.timeout(900_000);
      using folder = tempFolder();
      for (let at = 0; at < manyFiles; at += 1000) {
        const inner = join(folder.path, `d${at}`);
        mkdirSync(inner);
        for (let file = 0; file < 1000; file++) writeFileSync(join(inner, `f${file}`), "");
      }
      const packed = await packWorkspace(folder.path);
      await uploadWorkspace(running().devmesh, packed);
      await packed.dispose();
      const { result, log } = await running().shell(
        "find . -type f | wc -l; echo more > d0/f0; rm d1000/f1",
        { diskMib: 1024, runTimeoutMs: 800_000 },
        { workspaceSha256: packed.sha256 },
      );
      expect(result.outcome, result.message).to.equal(JobStatus.SUCCEEDED);
      expect(log.toString().trim()).to.equal(String(manyFiles));
      expect(result.artifacts.map(({ name }) => name)).to.deep.equal([
        ...["changes.patch", "changes.deleted", "d0/f0", "changes.tar"],
      ]);
      await running().expectNothingLeft();
    });

    it(`of more files than its disk has room for says so`, async () => {
      const blocks = Array.from({ length: 12_000 }, (_, index) =>
        entry({ type: "file", path: `f${index}` }),
      );
      const { sha256 } = await running().devmesh.blobs.put(tarOf(new Map(), ...blocks));
      const { result } = await running().shell(
        "true",
        { diskMib: 16 },
        { workspaceSha256: sha256 },
      );
      expect(result).to.include({ outcome: JobStatus.FAILED, reason: "WORKSPACE_INVALID" });
      expect(result.message).to.include("files");
      await running().expectNothingLeft();
    });
  });
}
