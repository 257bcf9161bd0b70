/** Images of mounts: made once for each source, shared by what is alike, and not kept without end. */
import { mkdtemp, readdir, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { hasMkfs, mountImage } from "../../services/vm/drivers/guest/disk-images.ts";

describe("images of mounts", function () {
  this.timeout(120_000);
  let folder: string;
  before(async function () {
    if (await hasMkfs()) return;
    console.log("      skipped: mkfs.ext4 is not here (install e2fsprogs)");
    this.skip();
  });
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "dm-images-"));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  const images = () => join(folder, "images");
  const imageOf = async (name: string, text: string, count?: number) => {
    const path = join(folder, name);
    await writeFile(path, text);
    return (await mountImage(images(), path, count)).path;
  };

  it("of small files are told apart by content and mode, not by where and when they were made", async () => {
    const first = await imageOf("job-1.pem", "certificates");
    const second = await imageOf("job-2.pem", "certificates");
    expect(second).to.equal(first);
    expect(await imageOf("job-3.pem", "others")).to.not.equal(first);
    await writeFile(join(folder, "program"), "certificates", { mode: 0o755 });
    expect((await mountImage(images(), join(folder, "program"))).path).to.not.equal(first);
  });

  it("of large files are told apart by path and state", async () => {
    const text = "x".repeat(2 << 20);
    const first = await imageOf("large-1", text);
    expect(await imageOf("large-2", text)).to.not.equal(first);
    expect((await mountImage(images(), join(folder, "large-1"))).path).to.equal(first);
  });

  it("of small files are kept up to a number, the oldest gone first", async () => {
    const made: string[] = [];
    for (const [at, name] of ["a", "b", "c", "d"].entries()) {
      const path = await imageOf(name, name, 3);
      await utimes(path, at + 1, at + 1);
      made.push(path);
    }
    const left = (await readdir(images())).map((name) => join(images(), name));
    expect(left).to.have.members(made.slice(1));
  });
});
