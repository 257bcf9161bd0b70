import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { expect } from "chai";
import { type DockerEngine, ensureBaseImage, startDocker } from "../../scripts/parts/docker.ts";
import { askEngine } from "../../scripts/parts/docker-http.ts";
import { run } from "../../scripts/parts/run.ts";
import { log, need } from "./need.ts";

describe("the Docker part", function () {
  this.timeout(900_000);
  let engine: DockerEngine | undefined;

  before(async function () {
    engine = need(this, await startDocker({ log }));
  });

  after(async () => {
    await engine?.stop();
  });

  it("answers on its socket", async function () {
    if (!engine) return this.skip();
    const { status, body } = await askEngine(engine.socketPath, "GET", "/version");
    expect(status).to.equal(200);
    expect(JSON.parse(body)).to.have.property("ApiVersion");
  });

  it("runs a command in the base image, named by digest and as latest", async function () {
    if (!engine) return this.skip();
    const { image } = need(this, await ensureBaseImage(engine.socketPath, { log }));
    expect(image).to.match(/^devmesh-base:[0-9a-f]{12}$/);
    for (const name of [image, "devmesh-base:latest"]) {
      expect(await docker(engine, ["run", "--rm", name, "echo", "hello"])).to.equal("hello\n");
    }
    const tools = ["run", "--rm", image, "sh", "-c", "git --version && rg --version"];
    expect(await docker(engine, tools)).to.match(/git version .*\nripgrep /);
  });

  it("has the base image already when asked again", async function () {
    if (!engine) return this.skip();
    const lines: string[] = [];
    need(this, await ensureBaseImage(engine.socketPath, { log: (line) => lines.push(line) }));
    expect(lines).to.deep.equal([]);
  });

  it("is shared, and lives as long as one of its users", async function () {
    if (!engine) return this.skip();
    const second = need(this, await startDocker());
    expect(second.socketPath).to.equal(engine.socketPath);
    await second.stop();
    expect((await askEngine(engine.socketPath, "GET", "/_ping")).status).to.equal(200);
  });

  it("ends with a user that is killed", async function () {
    if (!engine?.socketPath.includes("devmesh-docker-")) return this.skip();
    await engine.stop();
    const module = join(import.meta.dirname, "../../scripts/parts/docker.ts");
    const script = `import { startDocker } from ${JSON.stringify(module)};
      const found = await startDocker();
      process.stdout.write(found.value.socketPath, () => process.kill(process.pid, "SIGKILL"));`;
    const user = spawn(process.execPath, ["--input-type=module", "--eval", script], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const [socketPath] = await once(user.stdout, "data");
    expect(String(socketPath)).to.equal(engine.socketPath);
    while (existsSync(dirname(engine.socketPath))) await delay(50);
  });

  it("says in the engine's own words why it does not come up", async function () {
    if (!engine?.socketPath.includes("devmesh-docker-")) return this.skip();
    const { PATH, DEVMESH_CACHE_DIR } = process.env;
    const folder = await mkdtemp(join(tmpdir(), "devmesh-fake-"));
    try {
      const fake = "#!/bin/sh\necho the storage driver is broken; exit 1\n";
      await writeFile(join(folder, "dockerd"), fake, { mode: 0o755 });
      process.env.PATH = [folder, PATH].join(delimiter);
      process.env.DEVMESH_CACHE_DIR = folder;
      const found = await startDocker();
      expect(found.ok).to.equal(false);
      if (!found.ok) expect(found.reason).to.contain("the storage driver is broken");
    } finally {
      process.env.PATH = PATH;
      if (DEVMESH_CACHE_DIR === undefined) delete process.env.DEVMESH_CACHE_DIR;
      else process.env.DEVMESH_CACHE_DIR = DEVMESH_CACHE_DIR;
      await rm(folder, { recursive: true, force: true });
    }
  });
});

function docker(engine: DockerEngine, args: string[]): Promise<string> {
  const host = ["--host", `unix://${engine.socketPath}`];
  return run("docker", [...host, ...args], { timeoutMs: 60_000 });
}
