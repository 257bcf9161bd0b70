/** Process sandboxes of an ordinary user: weaker bounds, told as what they are. */
import { expect } from "chai";
import { heldAttempts } from "../../attack/attempts/held.ts";
import type { DriverProbe, ExitState, SandboxStats } from "../../services/vm/drivers/driver.ts";
import type { SandboxReceipt } from "../../services/vm/drivers/receipt.ts";
import { type TempFolder, tempFolder } from "../sdk/temp-folder.ts";
import { runAsUser, whyNoUserChild } from "./user-child.ts";

interface Seen {
  readonly probe: DriverProbe;
  readonly fractional: string;
  readonly receipt: SandboxReceipt;
  readonly hello: ExitState & { readonly text: string };
  readonly hog: ExitState;
  readonly flood: ExitState;
  readonly stats: SandboxStats;
  readonly fairEnd: { readonly exitCode: number; readonly text: string };
  readonly fairStats: SandboxStats;
  readonly whileFrozen: number;
  readonly deleteMs: number;
  readonly exitCode: number;
  readonly left: readonly string[];
}

describe("process sandboxes of an ordinary user", function () {
  this.timeout(240_000);
  let folder: TempFolder;
  let seen: Seen;

  before(async function () {
    const reason = await whyNoUserChild();
    folder = tempFolder();
    if (reason !== undefined) return this.skip();
    seen = (await runAsUser("bwrap-user-child.ts", folder.path)) as Seen;
    if (!seen.probe.available) {
      console.log(`    skipped: ${seen.probe.reason}`);
      return this.skip();
    }
  });
  after(() => folder[Symbol.dispose]());

  it("say in the probe that their limits are watched", () => {
    expect(seen.probe.engine).to.include("rlimits and a watch").and.include("watched disk");
    expect(seen.hello.text).to.equal("hello\n1000\n");
  });

  it("show in the receipt what the kernel holds and what a watch does", () => {
    const { memoryBytes, pids, cpuMillis, diskBytes, uid, seccomp, namespaces } = seen.receipt;
    expect(memoryBytes.source).to.match(/^watch .*Max data size \d+ for each process$/);
    expect(diskBytes.source).to.match(/^watch .*Max file size 16777216 for each process$/);
    expect(pids.source).to.match(/^\/proc\/\d+\/limits: Max processes$/);
    expect([pids.value, cpuMillis.value]).to.deep.equal([32, 1000]);
    expect(uid.value).not.to.equal(0);
    expect(seccomp.value).to.equal(true);
    expect(namespaces.value).to.include.members(["ipc", "mnt", "net", "pid", "user", "uts"]);
  });

  it("are refused for a part of a processor, which only the kernel could bound", () => {
    expect(seen.fractional)
      .to.include("CPU is not 500 thousandths")
      .and.include("Cpus_allowed_list");
  });

  it("end what uses too much memory or disk, and say which it was", () => {
    expect(seen.hog).to.deep.include({ exitCode: 137, outOfMemory: true });
    expect(seen.flood).to.deep.include({ exitCode: 137, outOfMemory: false });
    expect(seen.flood.met).to.deep.equal(["disk"]);
    expect(seen.stats.peakMemoryBytes).to.be.greaterThan(64 << 20);
    expect(seen.stats.diskBytes).to.be.greaterThan(16 << 20);
  });

  it("are left alone within their caps, whatever they share or close and others write", () => {
    expect(seen.fairEnd).to.deep.equal({ exitCode: 0, text: "closed" });
    // The files in memory once, and what lies in the folder that is closed.
    expect(seen.fairStats.peakMemoryBytes).to.be.within(36 << 20, 64 << 20);
    expect(seen.fairStats.diskBytes).to.be.within(8 << 20, 9 << 20);
  });

  it("keep nothing above their caps where folders and processes do not show it", async () => {
    const { results } = (await runAsUser("bwrap-attack-child.ts", folder.path)) as {
      results: readonly { readonly name: string; readonly state: string }[];
    };
    const ends = results.map(({ name, state }) => `${name} ${state}`);
    expect(ends).to.deep.equal(heldAttempts.map(({ name }) => `${name} held`));
  });

  it("stand still while they are frozen, and are deleted from there", () => {
    expect(seen.whileFrozen).to.equal(0);
    expect(seen.deleteMs).to.be.lessThan(10_000);
    expect(seen.exitCode).to.equal(137);
    expect(seen.left).to.deep.equal([]);
  });
});
