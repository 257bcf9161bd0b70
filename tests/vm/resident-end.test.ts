/** The resident's way to end all programs: whole as process 1, refused by any other process. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import type { Duplex } from "node:stream";
import { expect } from "chai";
import { findBubblewrap } from "../../scripts/parts/bubblewrap.ts";
import { ResidentChannel } from "../../services/vm/drivers/resident/channel.ts";
import { residentPath } from "../../services/vm/drivers/resident/resident-path.ts";
import { log, need } from "../parts/need.ts";

describe("the end of a resident's programs", function () {
  this.timeout(60_000);
  const started: ChildProcess[] = [];

  before(async function () {
    need(this, await findBubblewrap({ log }));
  });
  afterEach(async () => {
    for (const child of started.splice(0)) {
      child.kill("SIGKILL");
      if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
    }
  });

  /** A resident in a pid namespace of its own, as its first process or behind bubblewrap's. */
  async function resident(...more: string[]): Promise<ResidentChannel> {
    const world = ["--unshare-user", "--unshare-pid", "--die-with-parent", "--ro-bind", "/", "/"];
    const args = [...world, "--proc", "/proc", "--dev", "/dev", ...more];
    const child = spawn("bwrap", [...args, "perl", residentPath, "cage", "3", "3"], {
      stdio: ["ignore", "ignore", "inherit", "pipe"],
    });
    started.push(child);
    const channel = new ResidentChannel({
      connection: child.stdio[3] as Duplex,
      driver: "test",
      onBroken: () => child.kill("SIGKILL"),
    });
    await channel.hello;
    return channel;
  }

  const program = (channel: ResidentChannel, ...argv: string[]) =>
    channel.start({ argv, env: { PATH: "/usr/bin:/bin" }, cwd: "/", rights: "job", input: true });

  it("is the end of all of them, and others can be started", async () => {
    const channel = await resident("--as-pid-1");
    const first = program(channel, "setsid", "-w", "sleep", "600");
    const second = program(channel, "cat");
    await Promise.all([first.started, second.started]);
    await channel.configure([["end-programs"]]);
    expect((await first.exit).status).to.equal(137);
    expect((await second.exit).status).to.equal(137);
    expect((await program(channel, "true").exit).status).to.equal(0);
    // With nothing to end as well.
    await channel.configure([["end-programs"]]);
  });

  it("is refused where the signal would reach beyond its sandbox, and nothing is ended", async () => {
    const channel = await resident();
    const running = program(channel, "cat");
    await running.started;
    const refusal: unknown = await channel
      .configure([["end-programs"]])
      .catch((error: unknown) => error);
    expect(refusal).to.have.property("reason", "SANDBOX_FAILED");
    expect(String(refusal)).to.include("not process 1");
    running.end();
    expect((await running.exit).status).to.equal(0);
  });
});
