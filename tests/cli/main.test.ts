/** What all commands share: help, version, usage, connection, token, colour. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, existsSync } from "node:fs";
import { expect } from "chai";
import { exitCodeHelp } from "../../cli/src/exit-codes.ts";
import { commands } from "../../cli/src/registry.ts";
import { ownerSecret } from "../sdk/fake/fake-devmesh.ts";
import { tempFolder } from "../sdk/temp-folder.ts";
import { type CliBed, openBed } from "./bed.ts";
import { jsonLines, runCli } from "./run-cli.ts";

const oldNode = "/usr/bin/node";

describe("devmesh", function () {
  this.timeout(60_000);
  let bed: CliBed;
  before(async () => {
    bed = await openBed();
  });
  after(() => bed.close());

  it("tells its version", async () => {
    for (const args of [["--version"], ["-V"], ["--json", "--version"]]) {
      const { code, out } = await runCli(args);
      expect(code).to.equal(0);
      expect(out).to.match(/^devmesh \d+\.\d+\.\d+\n$/);
    }
  });

  it("lists every command and exit code in its help", async () => {
    for (const args of [["--help"], ["-h"], ["help"]]) {
      const { code, out, err } = await runCli(args);
      expect({ code, err }).to.deep.equal({ code: 0, err: "" });
      for (const name of Object.keys(commands)) expect(out).to.include(`  ${name} `);
      for (const [exit, text] of exitCodeHelp)
        expect(out).to.match(new RegExp(`  ${exit} +${text}`));
    }
    expect((await runCli(["jobs", "--help"])).out).to.include("jobs artifacts");
  });

  for (const name of Object.keys(commands)) {
    it(`${name} has its help`, async () => {
      const { code, out } = await runCli([...name.split(" "), "--help"]);
      expect(code).to.equal(0);
      expect(out).to.include(`usage: devmesh ${name}`).and.include("exit codes:");
      expect((await runCli(["help", ...name.split(" ")])).out).to.equal(out);
    });
  }

  for (const [what, args, text] of [
    ["no command", [], "a command is missing"],
    ["an unknown command", ["bogus"], 'there is no command "bogus"'],
    ["an unknown command of a group", ["jobs", "bogus"], 'no command "jobs bogus"'],
    ["a group alone", ["tokens"], "one of: tokens create, tokens list, tokens revoke"],
    ["an unknown option", ["models", "--bogus"], "--bogus"],
    ["a value for a flag", ["models", "--json=1"], "json"],
    ["an extra word", ["models", "x"], 'unexpected argument "x"'],
    ["a missing word", ["jobs", "get"], "ID is missing"],
    ["an odd URL", ["models", "--url", "nonsense"], "baseUrl"],
    [
      "a token for a far host over plain HTTP",
      ["models", "--url", "http://far.example", "--token", "t"],
      "unencrypted",
    ],
    ["a service that is none", ["serve", "everything"], "one of: api, mcp, inference, vm"],
  ] as const) {
    it(`refuses ${what}`, async () => {
      const { code, out, err } = await runCli(args);
      expect(code).to.equal(2);
      expect(out).to.equal("");
      expect(err)
        .to.match(/^error: /)
        .and.include(text);
      expect(err).to.not.match(/\n\s+at /);
    });
  }

  it("reports a usage error as JSON under --json", async () => {
    const { code, out, err } = await runCli(["bogus", "--json"]);
    expect({ code, out }).to.deep.equal({ code: 2, out: "" });
    expect(jsonLines(err)[0]).to.have.nested.property("error.reason", "USAGE");
  });

  it("answers 7 for a server that nobody runs, with the remedy", async () => {
    const { code, err } = await runCli(["models", "--url", "http://127.0.0.1:1"]);
    expect(code).to.equal(7);
    expect(err).to.include("remedy: is devmesh up at http://127.0.0.1:1?");
  });

  it("answers 3 for a wrong token and for none", async () => {
    expect((await bed.cli(["models", "--token", "wrong"])).code).to.equal(3);
    const { code, err } = await runCli(["models", "--url", bed.url]);
    expect(code).to.equal(3);
    expect(err).to.include("DEVMESH_TOKEN");
  });

  it("takes options before the command, and the flag before the environment", async () => {
    const env = { DEVMESH_URL: "http://127.0.0.1:1", DEVMESH_TOKEN: "wrong" };
    const args = ["--json", "--url", bed.url, "--token", ownerSecret, "models"];
    const { code, out } = await runCli(args, { env });
    expect(code).to.equal(0);
    expect(jsonLines(out)[0]).to.have.property("models");
  });

  it("uses the owner's token on loopback, and only if nobody else can read it", async () => {
    using data = tempFolder();
    const file = data.write("owner.token", `${ownerSecret}\n`, 0o600);
    const env = { DEVMESH_URL: bed.url, DEVMESH_DATA_DIR: data.path };
    expect((await runCli(["models"], { env })).code).to.equal(0);
    using home = tempFolder();
    home.write(".local/share/devmesh/owner.token", ownerSecret, 0o600);
    const byHome = { DEVMESH_URL: bed.url, HOME: home.path };
    expect((await runCli(["models"], { env: byHome })).code).to.equal(0);
    chmodSync(file, 0o644);
    const open = await runCli(["models"], { env });
    expect(open.code).to.equal(2);
    expect(open.err).to.include("can be read by others").and.include("remedy: chmod 600");
  });

  it("colours only when asked or at a terminal", async () => {
    const plain = await bed.cli(["run", "--", "echo"]);
    expect(plain.err).to.not.include("\u001b");
    const forced = await bed.cli(["run", "--", "echo"], { env: { FORCE_COLOR: "1" } });
    expect(forced.err).to.include("\u001b[32m✓ succeeded");
    const both = await bed.cli(["run", "--", "echo"], { env: { FORCE_COLOR: "1", NO_COLOR: "1" } });
    expect(both.err).to.not.include("\u001b");
  });

  it("ends quietly when its reader goes", async () => {
    const script = `"$0" cli/bin/devmesh.js run -q -- many 20000 | head -1`;
    const child = spawn("sh", ["-c", script, process.execPath], {
      env: { PATH: process.env.PATH, DEVMESH_URL: bed.url, DEVMESH_TOKEN: ownerSecret },
    });
    let err = "";
    child.stderr.on("data", (chunk: Buffer) => {
      err += chunk.toString();
    });
    await once(child, "close");
    expect(err).to.equal("");
  });

  it("starts itself again with a newer Node where the caller's is too old", async function () {
    if (!existsSync(oldNode)) this.skip();
    const { code, out } = await bed.cli(["run", "-q", "--", "exit", "5"], { node: oldNode });
    expect({ code, out }).to.deep.equal({ code: 5, out: "" });
  });
});
