/**
 * The process driver's engine for macOS. Its real library runs here with what it
 * uses on Linux; a library of the same form shows that nothing starts unprotected.
 */
import { expect } from "chai";
import type { DriverProbe, ExitState, SandboxStats } from "../../services/vm/drivers/driver.ts";
import { SeatbeltDriver } from "../../services/vm/drivers/process/seatbelt-driver.ts";
import { milliseconds } from "../../services/vm/drivers/process/seatbelt-family.ts";
import { SeatbeltPaths } from "../../services/vm/drivers/process/seatbelt-paths.ts";
import type { SandboxReceipt } from "../../services/vm/drivers/receipt.ts";
import { type TempFolder, tempFolder } from "../sdk/temp-folder.ts";
import { runAsUser, whyNoUserChild } from "./user-child.ts";

type Run = ExitState & { readonly text: string };

interface Seen {
  readonly probe: DriverProbe;
  readonly receipt: SandboxReceipt;
  readonly hello: Run;
  readonly escape: Run;
  readonly packed: boolean;
  readonly missing: string;
  readonly input: string;
  readonly hog: Run;
  readonly bomb: Run;
  readonly flood: Run;
  readonly stats: SandboxStats;
  /** Processes before and after all were ended, and what a program said then. */
  readonly ended: ExitState & {
    readonly before: number;
    readonly after: number;
    readonly next: string;
  };
  readonly exitCode: number;
  readonly wasWritten: boolean;
  readonly port: string;
  readonly left: readonly string[];
}

interface Refused {
  readonly probe: DriverProbe;
  readonly refused: string;
  readonly left: readonly string[];
}

describe("process sandboxes of sandbox-runtime", function () {
  this.timeout(180_000);
  let folder: TempFolder;

  before(async function () {
    folder = tempFolder();
    if ((await whyNoUserChild()) !== undefined) this.skip();
  });
  after(() => folder[Symbol.dispose]());

  it("run programs over their own folders, and nothing beside them", async function () {
    const seen = (await runAsUser("seatbelt-user-child.ts", folder.path, ["real"])) as Seen;
    if (!seen.probe.available) {
      console.log(`    skipped: ${seen.probe.reason}`);
      return this.skip();
    }
    expect(seen.hello.text).to.match(/^put\n\n.*\/work\n$/);
    expect(seen.escape.text).not.to.include("secret");
    expect([seen.wasWritten, seen.packed, seen.input]).to.deep.equal([false, true, "given"]);
    expect(seen.missing).to.match(/^COMMAND_NOT_FOUND/);
    expect(seen.hog).to.deep.include({ exitCode: 137, outOfMemory: true });
    expect(seen.bomb).to.deep.include({ exitCode: 137, met: ["pids"] });
    expect(seen.flood).to.deep.include({ exitCode: 137, met: ["disk"] });
    expect(seen.stats.peakMemoryBytes).to.be.greaterThan(128 << 20);
    expect(seen.ended.before).to.be.greaterThan(0);
    expect(seen.ended).to.deep.include({ after: 0, exitCode: 137, next: "on\n" });
    expect(seen.exitCode).to.equal(137);
    expect(seen.port).to.include("cannot have a port");
    expect(seen.left).to.deep.equal([]);
    const { interfaces, readOnlyRoot, cpuMillis, memoryBytes } = seen.receipt;
    expect(interfaces.source).to.match(/^sandbox-runtime profile; tried inside: /);
    expect([interfaces.value, readOnlyRoot.value]).to.deep.equal([[], true]);
    expect(cpuMillis.source).to.match(/^none: /);
    expect(memoryBytes.source).to.match(/^watch /);
  });

  for (const [mode, reason, words] of [
    ["open", "RECEIPT_MISMATCH", "the root can be written to"],
    ["open", "RECEIPT_MISMATCH", "there is a network"],
    ["missing", "ISOLATION_UNAVAILABLE", "no sandbox-exec"],
    ["foreign", "ISOLATION_UNAVAILABLE", "does not know"],
    ["broken", "SANDBOX_FAILED", "nothing can be tried inside"],
    ["unaccepted", "ISOLATION_UNAVAILABLE", "cannot bound the processors"],
  ] as const) {
    it(`are refused by a library that is ${mode}: ${words}`, async () => {
      const seen = (await runAsUser("seatbelt-user-child.ts", folder.path, [mode])) as Refused;
      expect(seen.refused).to.include(reason).and.include(words);
      expect(seen.probe.available).to.equal(false);
      expect(seen.probe.remedy).not.to.equal("");
      expect(seen.left).to.deep.equal([]);
    });
  }

  it("are refused to root, whose programs would be root's", async function () {
    if (process.getuid?.() !== 0) return this.skip();
    const driver = new SeatbeltDriver({ stateDir: folder.path, acceptUnboundedCpu: true });
    const { available, reason, remedy } = await driver.probe();
    expect(available).to.equal(false);
    expect(reason).to.include("root");
    expect(remedy).to.include("as a user");
  });
});

describe("paths of a sandbox without a file system of its own", () => {
  const paths = new SeatbeltPaths(
    {
      ...{ id: "sbx_a", jobId: "job_a" },
      limits: { memoryMib: 64, cpuMillis: 1000, pids: 8, diskMib: 16 },
      mounts: [{ hostPath: "/real/node", sandboxPath: "/opt/devmesh/node" }],
      doors: [{ name: "backend", socketPath: "/real/backend.sock" }],
    },
    { work: "/s/work", tmp: "/s/tmp", doors: "/s/doors" },
  );

  it("stand in for the names that every sandbox has, and for those alone", () => {
    expect(paths.real("/work")).to.equal("/s/work");
    expect(paths.real("/work/a b")).to.equal("/s/work/a b");
    expect(paths.real("/workspace")).to.equal("/workspace");
    expect(paths.real("/opt/devmesh/node")).to.equal("/real/node");
    expect(paths.real("/run/devmesh/backend.sock")).to.equal("/s/doors/backend.sock");
    expect(paths.realList("/tmp/bin:/usr/bin")).to.equal("/s/tmp/bin:/usr/bin");
  });

  it("and processor time is read as either system writes it", () => {
    expect(milliseconds("0:01.25")).to.equal(1250);
    expect(milliseconds("00:02:03")).to.equal(123_000);
    expect(milliseconds("1-00:00:01")).to.equal(86_401_000);
  });
});
