/** `devmesh runner install` on a machine with a real sshd, and what each failure leaves: nothing. */
import { execFileSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import { type Sshd, type SshdOptions, startSshd } from "../../scripts/parts/ssh.ts";
import { JobStatus } from "../../sdk/ts/src/node.ts";
import { log, need } from "../parts/need.ts";
import { type TempFolder, tempFolder } from "../sdk/temp-folder.ts";
import { type Program, runProgram, startProgram } from "./program.ts";
import { RemoteBed } from "./remote-runner.bed.ts";
import { until } from "./wait.ts";

const folderName = ".local/share/devmesh-runner";

describe("a runner that is installed over ssh", function () {
  this.timeout(240_000);
  let bed: RemoteBed;
  let home: TempFolder;
  let sshd: Sshd | undefined;
  let mounted = false;

  before(async () => {
    bed = await RemoteBed.open("127.0.0.1", { LEASE_TTL_MS: "4000" });
  });
  after(() => bed?.close());
  beforeEach(() => {
    home = tempFolder();
  });
  afterEach(async () => {
    for (const pid of processesIn(home.path)) process.kill(pid, "SIGKILL");
    await sshd?.stop();
    sshd = undefined;
    if (mounted) execFileSync("umount", ["-l", home.path]);
    mounted = false;
    home[Symbol.dispose]();
  });

  async function start(context: Mocha.Context, options: Partial<SshdOptions> = {}): Promise<Sshd> {
    sshd = need(context, await startSshd({ home: home.path, log, ...options }));
    return sshd;
  }

  /** The command line of an install, or of an uninstall. */
  function program(words: string[], { url = bed.url, trust = ["known"], identity = "user" } = {}) {
    const at = sshd as Sshd;
    const install = words[0] === "install" ? ["--join", url, "--labels", "zone=over-there"] : [];
    const files = { known: at.knownHosts, wrong: at.wrongKnownHosts, none: "/dev/null" };
    const [file = "", ...more] = trust;
    const args = [
      ...["runner", ...words.slice(0, 1), `${at.user}@127.0.0.1`, "--port", String(at.port)],
      ...["--identity", identity === "user" ? at.identity : at.strangerIdentity],
      ...["--known-hosts", files[file as keyof typeof files], ...more, ...install],
      ...words.slice(1),
    ];
    const env = { HOME: bed.folder.path, DEVMESH_URL: bed.url, DEVMESH_TOKEN: bed.token };
    return { args, env, quiet: true, limitMs: 180_000 };
  }

  const tokens = async () =>
    (await bed.devmesh.tokens.list()).filter(
      ({ name, revokeTime }) => name.startsWith("runner ") && revokeTime === undefined,
    );

  /** Nothing of ours is on the machine, runs there, or may call the backend. */
  async function expectNothingLeft(): Promise<void> {
    expect(readdirSync(home.path, { recursive: true })).to.deep.equal([]);
    expect(processesIn(home.path)).to.deep.equal([]);
    expect(await tokens()).to.deep.equal([]);
  }

  async function expectFailure(options: ReturnType<typeof program>, said: RegExp, code: number) {
    const ended = await runProgram(options);
    expect(ended.err).to.match(said);
    expect(ended.err).to.not.match(/\n\s+at /);
    expect(ended.code, ended.err).to.equal(code);
    await expectNothingLeft();
  }

  it("takes jobs, keeps its token to itself, and is removed with all it had", async function () {
    await start(this);
    const installed = await runProgram(program(["install", "--json"]));
    expect(installed.code, installed.err).to.equal(0);
    const { runnerId } = JSON.parse(installed.out) as { runnerId: string };
    const { jobId } = await bed.devmesh.jobs.create({
      command: ["echo", "over there"],
      runnerLabels: { zone: "over-there" },
    });
    const result = await bed.devmesh.jobs.wait(jobId);
    expect(result, result.message).to.include({ outcome: JobStatus.SUCCEEDED });
    expect((await bed.devmesh.jobs.get(jobId)).runner).to.equal(runnerId);

    const folder = join(home.path, folderName);
    const secret = readFileSync(join(folder, "token"), "utf8").trim();
    expect(statSync(join(folder, "token")).mode & 0o777).to.equal(0o600);
    expect(statSync(folder).mode & 0o777).to.equal(0o700);
    const running = processesIn(home.path);
    expect(running).to.not.deep.equal([]);
    for (const pid of running) {
      for (const file of ["cmdline", "environ"]) {
        expect(readFileSync(`/proc/${pid}/${file}`, "utf8")).to.not.include(secret);
      }
    }
    expect(readFileSync(join(folder, "runner.log"), "utf8")).to.not.include(secret);

    // A second one is refused, and the first is left alone.
    const again = await runProgram(program(["install"]));
    expect([again.code, again.err]).to.satisfy(
      ([code, err]: [number, string]) => code === 5 && /installed there already/.test(err),
    );
    expect(processesIn(home.path)).to.deep.equal(running);
    expect(await tokens()).to.have.length(1);

    const removed = await runProgram(program(["uninstall"]));
    expect(removed.code, removed.err).to.equal(0);
    await expectNothingLeft();
    const gone = await runProgram(program(["uninstall"]));
    expect([gone.code, gone.err]).to.satisfy(
      ([code, err]: [number, string]) => code === 4 && /there is no runner/.test(err),
    );
  });

  it("runs as a unit of the user where there is systemd, on a Node that is there", async function () {
    using tools = tempFolder();
    symlinkSync(process.execPath, join(tools.path, "node"));
    const systemctl = join(tools.path, "systemctl");
    // What systemd does with the unit, as far as the installer asks for it.
    writeFileSync(
      systemctl,
      `#!/bin/sh
unit="$HOME/.config/systemd/user/devmesh-runner.service"
echo "$*" >> "${tools.path}/asked"
case "$*" in
  *"enable --now"*)
    mkdir -p "${tools.path}/unit" && cp "$unit" "${tools.path}/unit/"
    setsid $(sed -n 's/^ExecStart=//p' "$unit") </dev/null >/dev/null 2>&1 & ;;
esac
exit 0
`,
    );
    chmodSync(systemctl, 0o755);
    await start(this, { path: `${tools.path}:/usr/bin:/bin` });
    mkdirSync(join(home.path, ".config/systemd/user"), { recursive: true });
    const installed = await runProgram(program(["install"]));
    expect(installed.code, installed.err).to.equal(0);
    expect(existsSync(join(home.path, folderName, "program", "node"))).to.equal(false);
    const unit = readFileSync(join(tools.path, "unit", "devmesh-runner.service"), "utf8");
    expect(unit).to.include(`ExecStart=${join(home.path, folderName, "run.sh")}\n`);
    expect(unit).to.include("Restart=always\n");
    const removed = await runProgram(program(["uninstall"]));
    expect(removed.code, removed.err).to.equal(0);
    expect(readFileSync(join(tools.path, "asked"), "utf8")).to.match(/disable --now/);
    expect(readdirSync(join(home.path, ".config/systemd/user"))).to.deep.equal([]);
    expect(existsSync(join(home.path, ".local"))).to.equal(false);
    expect(processesIn(home.path)).to.deep.equal([]);
  });

  it("is refused where the host's key is unknown, until that very key is accepted", async function () {
    const { fingerprint } = await start(this);
    await expectFailure(
      program(["install"], { trust: ["none"] }),
      /is not known \(SHA256:.*add --accept-host-key SHA256:/,
      3,
    );
    const other = `SHA256:${"A".repeat(43)}`;
    const trust = ["none", "--accept-host-key", other];
    await expectFailure(program(["install"], { trust }), /is not known/, 3);
    // The right one gets as far as there is a runner to remove.
    const accepted = program(["uninstall"], { trust: ["none", "--accept-host-key", fingerprint] });
    await expectFailure(accepted, /there is no runner/, 4);
  });

  it("is refused where the host's key has changed, whatever is accepted", async function () {
    const { fingerprint } = await start(this);
    const trust = ["wrong", "--accept-host-key", fingerprint];
    await expectFailure(program(["install"], { trust }), /is not the one in known_hosts/, 3);
  });

  it("is refused by a host that does not take the user's key, or is not there", async function () {
    const { pid } = await start(this);
    await expectFailure(program(["install"], { identity: "stranger" }), /none of the keys/, 3);
    process.kill(pid(), "SIGKILL");
    await expectFailure(program(["install"]), /ssh to 127\.0\.0\.1:\d+ fails/, 7);
  });

  it("leaves nothing on a disk that is full", async function () {
    try {
      execFileSync("mount", ["-t", "tmpfs", "-o", "size=24m", "tmpfs", home.path]);
      mounted = true;
    } catch {
      this.skip();
    }
    await start(this);
    await expectFailure(program(["install"]), /copying fails: .*; 0 MiB are free there/, 7);
  });

  it("leaves nothing where the runner does not take its token", async function () {
    await start(this);
    const file = join(bed.folder.path, "no-good.token");
    writeFileSync(file, `dm_${"x".repeat(43)}\n`);
    await expectFailure(
      program(["install", "--token-file", file]),
      /the runner has ended: the backend .* refuses this runner/,
      7,
    );
  });

  /** Starts an install, and resolves in the middle of a copy. */
  async function untilCopying(): Promise<Program> {
    const { args, env } = program(["install"]);
    const running = startProgram({ args, env, quiet: true });
    await until("a part of Node is there", () => {
      if (running.child.exitCode !== null) throw new Error(`it has ended: ${running.err()}`);
      const node = join(home.path, folderName, "program", "node");
      return existsSync(node) && statSync(node).size > 1_000_000;
    });
    return running;
  }

  it("leaves nothing when the connection is killed in the middle of a copy", async function () {
    const { pid } = await start(this);
    const running = await untilCopying();
    for (const session of childrenOf(pid())) process.kill(session, "SIGKILL");
    expect(await running.ended, running.err()).to.equal(7);
    expect(running.err()).to.match(/connection was lost|copying fails/);
    await expectNothingLeft();
  });

  it("says so when the whole host goes, and what is left is removed once it is back", async function () {
    const { pid, restart } = await start(this);
    const running = await untilCopying();
    const sessions = childrenOf(pid());
    process.kill(pid(), "SIGKILL");
    for (const session of sessions) process.kill(session, "SIGKILL");
    expect(await running.ended, running.err()).to.equal(7);
    expect(running.err()).to.match(
      /could not be removed: devmesh runner uninstall \S+@127\.0\.0\.1/,
    );
    expect(await tokens()).to.deep.equal([]);
    await restart();
    const removed = await runProgram(program(["uninstall"]));
    expect(removed.code, removed.err).to.equal(0);
    await expectNothingLeft();
  });

  it("leaves nothing when it is interrupted in the middle", async function () {
    await start(this);
    const running = await untilCopying();
    running.child.kill("SIGINT");
    expect(await running.ended, running.err()).to.equal(130);
    await expectNothingLeft();
  });
});

/** Pids of processes that work in a folder, or below it. */
function processesIn(folder: string): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return readlinkSync(`/proc/${pid}/cwd`).startsWith(folder);
      } catch {
        // It has ended meanwhile.
        return false;
      }
    })
    .map(Number);
}

/** Pids of a process's descendants. */
function childrenOf(pid: number): number[] {
  const text = execFileSync("ps", ["-eo", "pid=,ppid="], { encoding: "utf8" });
  const pairs = text
    .trim()
    .split("\n")
    .map((line) => line.trim().split(/\s+/).map(Number));
  const own = pairs.filter(([, parent]) => parent === pid).map(([child = 0]) => child);
  return own.flatMap((child) => [...childrenOf(child), child]);
}
