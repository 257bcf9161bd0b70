/** The console's files over a real port: what is served, how it is kept, and what is never reached. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { expect } from "chai";
import { Bed } from "./bed.ts";

describe("console", () => {
  let folder: string;
  let bed: Bed;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "dm-console-"));
    mkdirSync(join(folder, "dist", "assets"), { recursive: true });
    writeFileSync(join(folder, "secret.txt"), "secret");
    mkdirSync(join(folder, "dist-other"));
    writeFileSync(join(folder, "dist-other", "secret.txt"), "secret");
    writeFileSync(join(folder, "dist", "index.html"), "<p>the page");
    writeFileSync(join(folder, "dist", "assets", "app-1a2b.js"), "run()");
    writeFileSync(join(folder, "dist", "with space.txt"), "spaced");
  });
  afterEach(async () => {
    await bed.close();
    rmSync(folder, { recursive: true, force: true });
  });

  const start = async (consoleDir: string | undefined = join(folder, "dist")) => {
    bed = await Bed.open({ config: { consoleDir } });
    return bed.url();
  };

  /** The answer to a target as it is: `fetch` would tidy it up. */
  async function raw(target: string): Promise<string> {
    const socket = connect(await bed.listen(), "127.0.0.1");
    socket.write(`GET ${target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
    const chunks: Buffer[] = [];
    for await (const chunk of socket) chunks.push(chunk as Buffer);
    return Buffer.concat(chunks).toString();
  }

  it("serves the page at every address of its own", async () => {
    const url = await start();
    for (const path of ["/", "/jobs", "/jobs/job_1", "/index.html", "/v1beta", "/assets"]) {
      const res = await fetch(`${url}${path}`);
      expect([path, res.status, await res.text()]).to.deep.equal([path, 200, "<p>the page"]);
      expect(res.headers.get("cache-control")).to.equal("no-cache");
      expect(res.headers.get("content-security-policy")).to.contain("frame-ancestors 'none'");
    }
  });

  it("serves assets that may be kept for ever", async () => {
    const res = await fetch(`${await start()}/assets/app-1a2b.js`);
    expect(await res.text()).to.equal("run()");
    expect(res.headers.get("content-type")).to.equal("text/javascript; charset=utf-8");
    expect(res.headers.get("cache-control")).to.contain("immutable");
    expect(res.headers.get("x-content-type-options")).to.equal("nosniff");
  });

  it("answers HEAD without a body, and nothing else than GET and HEAD", async () => {
    const url = await start();
    const head = await fetch(`${url}/assets/app-1a2b.js`, { method: "HEAD" });
    expect([head.status, head.headers.get("content-length"), await head.text()]).to.deep.equal([
      200,
      "5",
      "",
    ]);
    expect((await fetch(`${url}/`, { method: "POST" })).status).to.equal(404);
  });

  it("has no page for a file that is not there, nor below the other ways in", async () => {
    const url = await start();
    for (const path of ["/assets/gone.js", "/gone.png", "/v1/gone", "/devmesh.gone", "/mcp/x"]) {
      const res = await fetch(`${url}${path}`);
      expect([path, res.status]).to.deep.equal([path, 404]);
      expect(res.headers.get("content-type")).to.contain("json");
    }
  });

  it("reads names with escapes", async () => {
    expect(await (await fetch(`${await start()}/with%20space.txt`)).text()).to.equal("spaced");
  });

  for (const target of [
    ...["/../secret.txt", "/%2e%2e/secret.txt", "/..%2fsecret.txt", "/%2e%2e%2fsecret.txt"],
    ...["/assets/..%2f..%2fsecret.txt", "/..%5csecret.txt", "//../secret.txt", "/%00secret.txt"],
    ...["/..%2fdist-other%2fsecret.txt", "/%c0%ae%c0%ae/secret.txt", "/%"],
  ]) {
    it(`does not leave its folder for ${target}`, async () => {
      await start();
      expect(await raw(target)).to.not.contain("\r\n\r\nsecret");
    });
  }

  it("takes a folder with a slash behind it, and a relative one", async () => {
    const url = await start(`${join(folder, "dist")}/`);
    expect(await (await fetch(`${url}/assets/app-1a2b.js`)).text()).to.equal("run()");
    await bed.close();
    const again = await start(relative(process.cwd(), join(folder, "dist")));
    expect(await (await fetch(`${again}/assets/app-1a2b.js`)).text()).to.equal("run()");
  });

  it("says how to build it where it is not built", async () => {
    const url = await start(join(folder, "nowhere"));
    expect(await (await fetch(url)).text()).to.contain("node scripts/build.ts");
    expect((await fetch(`${url}/jobs`)).status).to.equal(404);
  });
});
