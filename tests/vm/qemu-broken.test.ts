/** What no guest should do, played by a stand-in for QEMU: typed errors, and nothing is left. */
import { execFileSync } from "node:child_process";
import { chmod, mkdir, mkdtemp, readdir, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { QemuDriver } from "../../services/vm/drivers/qemu/qemu-driver.ts";
import { suiteSpec } from "../../services/vm/drivers/suite/harness.ts";

/** Perl, because a stand-in has to start in milliseconds. 3: the agent's port, 4: the monitor. */
const standIns: Readonly<Record<string, string>> = {
  "ends at once": "exit 3;",
  "ends with a long last word": "print STDERR 'x' x 100000; exit 1;",
  "sends a huge frame": "out(pack('NCN', 0x7fffffff, 2, 0)); sleep 60;",
  "sends noise": "out(pack('N*', map { $_ * 2654435761 % 4294967296 } 1 .. 9999)); sleep 60;",
  "answers what nobody asked": "out(frame(2, 0)); out(frame(14, 77, pack 'N', 0)); sleep 60;",
  "opens a door that is not there":
    "out(frame(2, 0)); out(frame(4, 0x80000001, 'backend')); sleep 60;",
  "refuses to be set up":
    "out(frame(2, 0)); hear(); out(frame(6, 0, pack '(N/a*)*', 'config', 0, 'no')); sleep 60;",
  "closes its port": "POSIX::close(3); sleep 60;",
  "speaks nonsense at its monitor":
    "out(frame(2, 0)); tell('nonsense'); hear(); out(frame(3, 0)); sleep 60;",
  "never says a word": "sleep 60;",
};

const head = `#!/usr/bin/perl
use POSIX ();
if ("@ARGV" =~ /--version/) { print "QEMU emulator version 7.2.99\\n"; exit }
sub out { my $all = shift; while (length $all) { my $n = POSIX::write(3, $all, length $all) or exit; substr($all, 0, $n) = '' } }
sub tell { POSIX::write(4, "$_[0]\\n", 1 + length $_[0]) }
sub hear { my $in; POSIX::read(3, $in, 1) }
sub frame { my ($type, $id, $payload) = (@_, ''); pack('NCN', length $payload, $type, $id) . $payload }
`;

describe("a QEMU or guest that is not what it should be", function () {
  this.timeout(60_000);
  let folder: string;
  let guestDir: string;

  before(async function () {
    if (process.platform !== "linux") return this.skip();
    try {
      execFileSync("perl", ["-e", "1"]);
    } catch {
      return this.skip();
    }
    folder = await mkdtemp(join(tmpdir(), "devmesh-broken-"));
    await chmod(folder, 0o755);
    guestDir = join(folder, "guest");
    await mkdir(guestDir);
    for (const name of ["vmlinux", "initramfs.cpio", "root.ext4"]) {
      await writeFile(join(guestDir, name), "something");
    }
    const manifest = { version: 2, bootDigest: "b", rootDigest: "r" };
    await writeFile(join(guestDir, "guest.json"), JSON.stringify(manifest));
  });

  after(async () => {
    if (folder) await rm(folder, { recursive: true, force: true });
  });

  const make = async (name: string, body: string, more = {}) => {
    const binary = join(folder, name);
    await writeFile(binary, head + body, { mode: 0o755 });
    const stateDir = join(folder, `${name}-state`);
    const options = { stateDir, guestDir, binary, accelerator: "tcg", bootLimitMs: 3_000 } as const;
    return { stateDir, driver: new QemuDriver({ ...options, ...more }) };
  };

  const leftovers = async (stateDir: string) => {
    const folders = ["vms", "snapshots"].map((name) =>
      readdir(join(stateDir, name)).catch(() => []),
    );
    return (await Promise.all(folders)).flat().filter((name) => !name.startsWith(".lock"));
  };

  for (const [index, [what, body]] of Object.entries(standIns).entries()) {
    it(`that ${what} is an error, and leaves nothing`, async () => {
      const { driver, stateDir } = await make(`stand-in-${index}`, body);
      const error = await driver.create(suiteSpec()).catch((failure) => failure);
      expect(error, String(error)).to.include({ reason: "SANDBOX_FAILED" });
      expect(error.message).to.not.match(/\.ts:|node:/);
      expect(driver.list()).to.deep.equal([]);
      expect(await leftovers(stateDir)).to.deep.equal([]);
      const probe = await driver.probe();
      expect(probe).to.include({ available: false });
      expect(probe.reason).to.not.equal("");
      expect(probe.remedy).to.not.equal("");
    });
  }

  it("says its own last line where it gives up, and no more of it", async () => {
    const line = "qemu-system-x86_64: -m 64: no room for the guest";
    const body = `print STDERR "something\\n${line} \\x1b[2J${"x".repeat(2000)}\\n"; exit 1;`;
    const { driver } = await make("tells", body);
    const error = await driver.create(suiteSpec()).catch((failure) => failure);
    expect(error).to.include({ reason: "SANDBOX_FAILED" });
    expect(error.message).to.include(`: ${line}  [2Jxxx`).and.not.include("something");
    expect(error.message.length).to.be.lessThan(400);
  });

  for (const [limits, field, most] of [
    [{ cpuMillis: 999_000 }, "limits.cpuMillis", /255000 \(255 processors\)/],
    [{ memoryMib: 16_000_000 }, "limits.memoryMib", /the host has \d+ MiB/],
  ] as const) {
    it(`is not started where ${field} is more than it can have`, async () => {
      const { driver, stateDir } = await make(`refuses-${field}`, "exit 3;");
      const spec = suiteSpec();
      const wanted = { ...spec, limits: { ...spec.limits, ...limits } };
      const error = await driver.create(wanted).catch((failure) => failure);
      expect(error).to.include({ reason: "INVALID_FIELD" });
      expect(error.metadata).to.include({ field });
      expect(error.message).to.match(most);
      expect(await leftovers(stateDir)).to.deep.equal([]);
    });
  }

  it("is cancelled at any moment while a guest says nothing", async () => {
    const { driver, stateDir } = await make("silent", "sleep 60;", { bootLimitMs: 30_000 });
    for (const afterMs of [0, 1, 2, 3, 5, 8, 13, 21, 34, 55, 300]) {
      const stop = new AbortController();
      const call = driver.create(suiteSpec(), stop.signal).catch((failure) => failure);
      setTimeout(() => stop.abort(), afterMs);
      expect(await call, `after ${afterMs} ms`).to.include({ reason: "CANCELLED" });
    }
    expect(await leftovers(stateDir)).to.deep.equal([]);
  });

  it("is refused with a remedy when the program or a part of the guest is not there", async () => {
    const { driver } = await make("absent", "", { binary: "/none/such" });
    const none = await driver.create(suiteSpec()).catch((failure) => failure);
    expect(none).to.include({ reason: "ISOLATION_UNAVAILABLE" });
    expect(none.metadata.remedy).to.include("install QEMU");
    for (const name of ["vmlinux", "root.ext4", "guest.json"]) {
      const other = join(folder, `without-${name}`);
      execFileSync("cp", ["-r", guestDir, other]);
      await rm(join(other, name));
      const { driver: lacking } = await make(`lacks-${name}`, "", { guestDir: other });
      const error = await lacking.create(suiteSpec()).catch((failure) => failure);
      expect(error, name).to.include({ reason: "ISOLATION_UNAVAILABLE" });
      expect(error.metadata.remedy).to.include("setup");
      await truncate(join(other, "vmlinux"), 0).catch(() => {});
    }
    const torn = join(folder, "torn");
    execFileSync("cp", ["-r", guestDir, torn]);
    await writeFile(join(torn, "guest.json"), "{");
    const { driver: broken } = await make("tears", "", { guestDir: torn });
    const error = await broken.create(suiteSpec()).catch((failure) => failure);
    expect(error).to.include({ reason: "ISOLATION_UNAVAILABLE" });
  });
});
