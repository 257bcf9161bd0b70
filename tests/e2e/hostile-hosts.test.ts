/** Hosts that lack what a sandbox needs: refused with the remedy, and nothing is left. */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import { JobStatus } from "../../sdk/ts/src/node.ts";
import { HostileBed } from "./hostile-bed.ts";
import { placesFor } from "./sandbox-places.ts";

const lacking = [
  {
    what: "the image is not there",
    ...{ driver: "docker", tier: "container" },
    env: { DOCKER_IMAGE: "devmesh-none:latest" },
    says: /no image devmesh-none:latest/,
  },
  {
    what: "the guest's kernel is not there",
    ...{ driver: "qemu", tier: "vm" },
    env: { VM_GUEST_DIR: "/nonexistent/guest" },
    says: /\/nonexistent\/guest/,
  },
] as const;

for (const { what, driver, tier, env, says } of lacking) {
  for (const place of placesFor(driver)) {
    describe(`a host where ${what}`, function () {
      this.timeout(240_000);
      let bed: HostileBed | undefined;
      before(async function () {
        this.timeout(600_000);
        bed = await HostileBed.open(this, place, env);
      });
      after(() => bed?.close());

      it("refuses the job with the remedy, and has nothing of it", async () => {
        if (bed === undefined) throw new Error("the platform does not run");
        const { code, err } = await bed.cli("run", "--isolation", tier, "--json", "--", "true");
        expect(code).to.not.equal(0);
        expect(err).to.include("ISOLATION_UNAVAILABLE").and.include("npm run setup");
        expect(err).to.not.match(/\n\s+at /);
        expect((await bed.capability(driver))?.reason).to.match(says);
        expect(await bed.devmesh.jobs.list().toArray(10)).to.deep.equal([]);
        await bed.expectNothingLeft();
      });
    });
  }
}

for (const place of placesFor("process")) {
  describe("a host whose disk is full", function () {
    this.timeout(120_000);
    let bed: HostileBed | undefined;
    let vm = "";

    before(async function () {
      if (process.getuid?.() !== 0 || process.platform !== "linux") {
        console.log("      skipped: only root can mount a small disk");
        return this.skip();
      }
      bed = await HostileBed.open(this, place, {}, (dataDir, cleanup) => {
        vm = join(dataDir, "vm");
        mkdirSync(vm, { mode: 0o755 });
        execFileSync("mount", ["-t", "tmpfs", "-o", "size=48m,mode=755", "none", vm]);
        cleanup.defer(() => void execFileSync("umount", ["--lazy", vm]));
      });
    });
    after(() => bed?.close());

    it("ends a job with SANDBOX_FAILED, and does the next when there is room again", async () => {
      if (bed === undefined) throw new Error("the platform does not run");
      const filler = join(vm, "filler");
      const limits = { diskMib: 20, memoryMib: 64 };
      try {
        writeFileSync(filler, Buffer.alloc(64 * 1024 * 1024));
      } catch {
        // Full now.
      }
      const { result } = await bed.shell("true", limits);
      expect(result, result.message).to.include({
        outcome: JobStatus.FAILED,
        reason: "SANDBOX_FAILED",
      });
      expect(result.message).to.match(/No space left|ENOSPC/);
      rmSync(filler);
      const next = await bed.shell("echo well", limits);
      expect(next.result.outcome, next.result.message).to.equal(JobStatus.SUCCEEDED);
      expect(existsSync(filler)).to.equal(false);
      await bed.expectNothingLeft();
    });
  });
}
