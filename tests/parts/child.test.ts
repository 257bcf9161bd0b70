import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { expect } from "chai";
import { startChild } from "../../scripts/parts/child.ts";

describe("a started process", function () {
  this.timeout(20_000);
  let folder = "";

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "devmesh-child-"));
  });

  after(async () => {
    await rm(folder, { recursive: true, force: true });
  });

  it("is gone after stop", async () => {
    const child = await startChild("sleep", ["60"], options("stop", true));
    expect(existsSync(`/proc/${child.pid}`)).to.equal(true);
    await child.stop();
    expect(existsSync(`/proc/${child.pid}`)).to.equal(false);
  });

  it("that ends before it is ready is reported with its last lines", async () => {
    const args = ["-c", "echo the disk is full; exit 3"];
    const reason = await startChild("sh", args, options("early", false)).catch(String);
    expect(reason).to.contain("ended with 3").and.contain("the disk is full");
  });

  it("that is not ready in time is ended and reported", async () => {
    const args = ["-c", "echo waiting for nothing; exec sleep 60"];
    const late = { ...options("late", false), readyTimeoutMs: 300 };
    const reason = await startChild("sh", args, late).catch(String);
    expect(reason).to.contain("was not ready in 300 ms").and.contain("waiting for nothing");
  });

  it("that cannot be started is reported", async () => {
    const reason = await startChild("devmesh-none", [], options("none", false)).catch(String);
    expect(reason).to.contain("devmesh-none");
  });

  for (const ending of ["process.exit(0)", 'process.kill(process.pid, "SIGKILL")']) {
    it(`dies with its parent: ${ending}`, async function () {
      if (process.platform !== "linux") return this.skip();
      const module = join(import.meta.dirname, "../../scripts/parts/child.ts");
      const script = `import { startChild } from ${JSON.stringify(module)};
        const ready = async () => true;
        const logPath = ${JSON.stringify(join(folder, "orphan.log"))};
        const child = await startChild("sleep", ["60"], { logPath, ready, readyTimeoutMs: 5000 });
        process.stdout.write(String(child.pid), () => ${ending});`;
      const parent = spawn(process.execPath, ["--input-type=module", "--eval", script], {
        stdio: ["ignore", "pipe", "inherit"],
      });
      const [pid] = await once(parent.stdout, "data");
      await once(parent, "exit");
      while (existsSync(`/proc/${pid}`)) await delay(20);
    });
  }

  function options(name: string, ready: boolean) {
    const logPath = join(folder, `${name}.log`);
    return { logPath, ready: async () => ready, readyTimeoutMs: 5_000 };
  }
});
