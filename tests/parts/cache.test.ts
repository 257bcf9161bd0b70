import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { cacheDir, cached, holdLock } from "../../scripts/parts/cache.ts";

describe("the cache folder", function () {
  this.timeout(20_000);
  const before = process.env.DEVMESH_CACHE_DIR;
  let folder = "";

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "devmesh-cache-"));
    process.env.DEVMESH_CACHE_DIR = folder;
  });

  afterEach(async () => {
    if (before === undefined) delete process.env.DEVMESH_CACHE_DIR;
    else process.env.DEVMESH_CACHE_DIR = before;
    await rm(folder, { recursive: true, force: true });
  });

  it("builds an entry once for all who ask at the same time", async () => {
    let builds = 0;
    const build = async (target: string) => {
      builds += 1;
      await writeFile(join(target, "content"), "x");
    };
    const paths = await Promise.all([1, 2, 3].map(() => cached("entry", build)));
    expect(builds).to.equal(1);
    expect(new Set(paths)).to.deep.equal(new Set([join(cacheDir(), "entry")]));
    expect(existsSync(join(folder, "entry", "content"))).to.equal(true);
  });

  it("keeps nothing of a build that fails, and of one that was killed", async () => {
    await mkdir(join(folder, "entry.0badcafe.tmp"));
    const failed = await cached("entry", async () => {
      throw new Error("no");
    }).catch((error: unknown) => String(error));
    expect(failed).to.equal("Error: no");
    expect(await readdir(folder)).to.deep.equal(["locks"]);
  });

  it("frees the lock of a process that was killed", async () => {
    const module = join(import.meta.dirname, "../../scripts/parts/cache.ts");
    const holder = `import { holdLock } from ${JSON.stringify(module)};
      await holdLock("one", 0); console.log("held"); setInterval(() => {}, 1000);`;
    const child = spawn(process.execPath, ["--input-type=module", "--eval", holder], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    await once(child.stdout, "data");
    expect(await holdLock("one", 0)).to.equal(undefined);
    child.kill("SIGKILL");
    const lock = await holdLock("one", 10_000);
    expect(lock).not.to.equal(undefined);
    lock?.release();
  });
});
