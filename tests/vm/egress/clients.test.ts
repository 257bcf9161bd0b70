/** Unmodified clients find the egress proxy by their variables, and trust it where it looks inside. */
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect } from "chai";
import { findBinary } from "../../../scripts/parts/debian.ts";
import type { Egress } from "../../../services/vm/egress/egress.ts";
import { EgressBed, type TestHost } from "./bed.ts";

const run = promisify(execFile);

describe("clients of the egress proxy", function () {
  this.timeout(60_000);
  let bed: EgressBed;
  let host: TestHost;
  let egress: Egress;
  let home: string;
  let env: Record<string, string>;

  for (const [how, methods] of [
    ["passed through", []],
    ["looked into", ["GET", "POST"]],
  ] as const) {
    describe(`over TLS that is ${how}`, () => {
      beforeEach(async () => {
        bed = await EgressBed.open();
        home = await mkdtemp(join(tmpdir(), "dm-home-"));
        host = await bed.tlsHost("api.example");
        egress = await bed.proxy({
          allow: [{ host: "api.example", port: host.port, methods: [...methods] }],
        });
        // What a sandbox has: its own port, and the certificates under their own paths.
        const port = await bed.tcpTo(egress.door.socketPath);
        const here = (text: string) =>
          egress.mounts
            .reduce((all, { hostPath, sandboxPath }) => all.replace(sandboxPath, hostPath), text)
            .replace(":3128", `:${port}`);
        const variables = Object.entries(egress.env).map(([name, text]) => [name, here(text)]);
        env = { PATH: process.env.PATH ?? "", HOME: home, ...Object.fromEntries(variables) };
      });
      afterEach(async () => {
        await bed.close();
        await rm(home, { recursive: true, force: true });
      });

      const url = (path = "/") => `https://api.example:${host.port}${path}`;
      const need = (context: Mocha.Context, name: string) => {
        const found = findBinary(name);
        if (found === undefined) context.skip();
        return found ?? name;
      };

      it("curl", async function () {
        const curl = need(this, "curl");
        const { stdout } = await run(curl, ["-sS", "-d", "x=1", url("/post")], { env });
        expect(stdout).to.equal("hello");
        expect(host.seen[0]).to.include({ method: "POST", body: "x=1" });
        const refused = await run(curl, ["-sS", "https://evil.example/"], { env }).catch((e) => e);
        expect(refused.stderr).to.contain("403");
      });

      it("Python", async function () {
        const python = need(this, "python3");
        const script = `import urllib.request as r; print(r.urlopen("${url("/py")}").read().decode())`;
        const { stdout } = await run(python, ["-c", script], { env });
        expect(stdout).to.equal("hello\n");
      });

      it("git", async function () {
        const git = need(this, "git");
        host.onRequest = (_req, res) => res.writeHead(404).end();
        const failed = await run(git, ["ls-remote", url("/r.git")], { env }).catch((e) => e);
        expect(failed.stderr).to.match(/not found/);
        expect(host.seen[0]?.url).to.equal("/r.git/info/refs?service=git-upload-pack");
      });

      it("Node's fetch and its https", async () => {
        const path = join(home, "client.mjs");
        await writeFile(
          path,
          `import { get } from "node:https";
          console.log(await (await fetch("${url("/fetch")}")).text());
          get("${url("/get")}", (res) => res.pipe(process.stdout));`,
        );
        const { stdout } = await run(process.execPath, [path], { env });
        expect(stdout).to.equal("hello\nhello");
      });
    });
  }
});
