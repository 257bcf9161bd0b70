/** Formatted images: one for each size, a bounded number of sizes, none taken from under its user. */
import { existsSync, mkdirSync, readdirSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import { mostTemplates, withDiskTemplate } from "../../services/vm/drivers/disk-templates.ts";
import { runTool } from "../../services/vm/drivers/run-tool.ts";
import { type TempFolder, tempFolder } from "../sdk/temp-folder.ts";

describe("templates of disks", function () {
  this.timeout(60_000);
  let temp: TempFolder;
  let folder: string;

  before(async function () {
    try {
      await runTool("mkfs.ext4", ["-V"]);
    } catch {
      console.log("      skipped: mkfs.ext4 is not here");
      this.skip();
    }
  });
  beforeEach(() => {
    temp = tempFolder();
    folder = join(temp.path, "templates");
  });
  afterEach(() => temp[Symbol.dispose]());

  const nameOf = (diskMib: number) => `ext4-${diskMib}.img`;
  const use = (diskMib: number) => withDiskTemplate(folder, diskMib, async (path) => path);
  /** Sizes that were used one after the other, an hour ago and later. */
  const usedBefore = (sizes: readonly number[]) => {
    mkdirSync(folder, { recursive: true });
    sizes.forEach((size, at) => {
      const path = join(folder, nameOf(size));
      writeFileSync(path, "");
      utimesSync(path, Date.now() / 1000 - 3600 + at, Date.now() / 1000 - 3600 + at);
    });
  };
  const many = Array.from({ length: mostTemplates }, (_, at) => 100 + at);

  it("are kept for the sizes that were used last, and no more", async () => {
    usedBefore(many);
    // Used again, so the second is the oldest.
    await use(100);
    expect(await use(8)).to.equal(join(folder, nameOf(8)));
    const left = readdirSync(folder);
    expect(left).to.have.length(mostTemplates);
    expect(left)
      .to.include.members([nameOf(8), nameOf(100)])
      .and.not.include(nameOf(101));
  });

  it("stay while they are used, however old they are", async () => {
    usedBefore(many);
    await withDiskTemplate(folder, 100, async (path) => {
      const long = Date.now() / 1000 - 7200;
      utimesSync(path, long, long);
      await use(8);
      expect(existsSync(path)).to.equal(true);
    });
    await use(9);
    expect(existsSync(join(folder, nameOf(100)))).to.equal(false);
    expect(readdirSync(folder)).to.have.length(mostTemplates);
  });

  it("leave no draft of a process that was killed", async () => {
    usedBefore([50]);
    const [old, fresh] = [`${nameOf(51)}.1-1`, `${nameOf(52)}.1-1`];
    for (const name of [old, fresh]) writeFileSync(join(folder, name), "");
    utimesSync(join(folder, old), 1, 1);
    await use(8);
    expect(readdirSync(folder)).to.have.members([nameOf(50), nameOf(8), fresh]);
  });
});
