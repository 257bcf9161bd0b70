import { expect } from "chai";
import { findBubblewrap } from "../../scripts/parts/bubblewrap.ts";
import { findChromium } from "../../scripts/parts/chromium.ts";
import { installDebian } from "../../scripts/parts/debian.ts";
import { findGrpcurl } from "../../scripts/parts/grpcurl.ts";
import { run } from "../../scripts/parts/run.ts";
import { log, need } from "./need.ts";

describe("the tools that tests drive", function () {
  this.timeout(1_200_000);

  it("has a browser that renders a page", async function () {
    const { executablePath, args } = need(this, await findChromium({ log }));
    const page = "data:text/html,<script>document.write(6*7)</script>";
    const dom = await run(executablePath, [...args, "--dump-dom", page], { timeoutMs: 60_000 });
    expect(dom).to.contain("42");
  });

  it("has grpcurl", async function () {
    const { path } = need(this, await findGrpcurl({ log }));
    const said = await run("sh", ["-c", '"$0" -version 2>&1', path], { timeoutMs: 10_000 });
    expect(said).to.match(/^grpcurl /);
  });

  it("has bubblewrap that runs a command without a network", async function () {
    const { path } = need(this, await findBubblewrap({ log }));
    const args = ["--unshare-all", "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev"];
    const command = ["cat", "/proc/net/route"];
    const routes = await run(path, [...args, ...command], { timeoutMs: 10_000 });
    expect(routes.trim().split("\n")).to.have.length(1);
  });

  it("asks apt for nothing when a package is installed", async function () {
    const lines: string[] = [];
    const answer = await installDebian(["dpkg"], { log: (line) => lines.push(line) });
    if (!answer.ok) return this.skip();
    expect(lines).to.deep.equal([]);
  });
});
