/** The bundle: one file, made once, with nothing of the machine that made it. */
import { execFile } from "node:child_process";
import { copyFile, readFile, stat, writeFile } from "node:fs/promises";
import { isBuiltin } from "node:module";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { expect } from "chai";
import { buildCoder } from "../../agents/coder/build.ts";
import { TempFolders } from "./temp-folder.ts";

describe("the agent's bundle", function () {
  this.timeout(60_000);
  const folders = new TempFolders();
  afterEach(() => folders.clear());

  it("is made once, also when asked several times at once, and again after a change", async () => {
    const path = await buildCoder();
    const { mtimeMs } = await stat(path);
    expect(await Promise.all([buildCoder(), buildCoder()])).to.deep.equal([path, path]);
    expect((await stat(path)).mtimeMs).to.equal(mtimeMs);
    const content = await readFile(path, "utf8");
    await writeFile(path, "broken");
    await Promise.all([buildCoder(), buildCoder()]);
    expect(await readFile(path, "utf8")).to.equal(content);
  });

  it("runs alone, imports Node's own modules only, and names no folder of this machine", async () => {
    const path = await buildCoder();
    const content = await readFile(path, "utf8");
    for (const [, name = ""] of content.matchAll(/^import .* from "(.+)";$/gm)) {
      expect(isBuiltin(name), name).to.equal(true);
    }
    expect(content).not.to.include(resolve(import.meta.dirname, "../.."));
    const folder = await folders.make();
    const alone = join(folder, "coder.mjs");
    await copyFile(path, alone);
    const failed = await promisify(execFile)(process.execPath, [alone], {
      cwd: folder,
      env: {},
    }).then(
      () => undefined,
      (error: unknown) => error,
    );
    expect(failed).to.include({ code: 1 });
    const { stderr } = failed as { readonly stderr: string };
    expect(stderr.slice(0, 17)).to.equal('\x1e{"type":"report"');
    expect(stderr.indexOf("\n")).to.equal(stderr.length - 1);
  });
});
