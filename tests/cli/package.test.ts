/** The command line as it is published, and the rule on what it may import. */
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import { tempFolder } from "../sdk/temp-folder.ts";
import { type CliBed, openBed } from "./bed.ts";
import { runCli } from "./run-cli.ts";

const root = join(import.meta.dirname, "..", "..");

describe("the command line's imports", () => {
  it("are Node, the SDK and protobuf only; the platform comes by one door", () => {
    const source = join(root, "cli", "src");
    const files = readdirSync(source, { recursive: true }).map(String);
    const foreign = new Set<string>();
    for (const file of files.filter((name) => name.endsWith(".ts"))) {
      const text = readFileSync(join(source, file), "utf8");
      for (const [, name = ""] of text.matchAll(/(?:from|import\()\s*"([^".][^"]*)"/g)) {
        if (!name.startsWith("node:")) foreign.add(name);
      }
    }
    expect([...foreign].sort()).to.deep.equal([
      "@bufbuild/protobuf",
      "@devmesh/sdk",
      "@devmesh/sdk/node",
      "@devmesh/sdk/raw",
    ]);
    expect(files.filter((file) => file.includes("platform-door"))).to.have.length(1);
  });
});

describe("the command line's package", function () {
  this.timeout(600_000);
  let bed: CliBed;
  before(async () => {
    bed = await openBed();
  });
  after(() => bed.close());

  it("runs from its tarball, without the platform", async () => {
    using folder = tempFolder({ "package.json": '{ "private": true }' });
    execFileSync(process.execPath, [join(root, "cli/build.ts")], { stdio: "pipe" });
    const pack = ["pack", join(root, "cli/dist"), "--pack-destination", folder.path];
    execFileSync("npm", pack, { stdio: "pipe" });
    const tarball = readdirSync(folder.path).find((name) => name.endsWith(".tgz")) ?? "";
    const install = ["install", "--no-audit", "--no-fund", "--ignore-scripts", `./${tarball}`];
    execFileSync("npm", install, { cwd: folder.path, stdio: "pipe" });
    const bin = join(folder.path, "node_modules/@devmesh/cli/bin/devmesh.js");
    expect((await runCli(["--version"], { bin })).out).to.match(/^devmesh \d/);
    using workspace = tempFolder({ "old.txt": "old" });
    const args = ["run", "-q", "--apply", "-w", workspace.path, "--", "changes"];
    expect(await bed.cli(args, { bin })).to.include({ code: 0, err: "" });
    expect(readFileSync(join(workspace.path, "old.txt"), "utf8")).to.equal("changed\n");
    const { code, err } = await bed.cli(["up"], { bin });
    expect(code).to.equal(2);
    expect(err).to.include("not the platform");
    expect((await bed.cli(["doctor", "--json"], { bin })).out).to.include('"version":"0.1.0"');
  });
});
