/** Process sandboxes as an ordinary user makes them; says what was seen as one line of JSON. */
import { readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { DevmeshError } from "@devmesh/mesh/errors";
import type { Sandbox, SandboxLimits } from "../../services/vm/drivers/driver.ts";
import { ProcessDriver } from "../../services/vm/drivers/process/process-driver.ts";
import { finish } from "../../services/vm/drivers/suite/harness.ts";

const [, , stateDir = ""] = process.argv;
const driver = new ProcessDriver({ stateDir });
let made = 0;

function create(limits: Partial<SandboxLimits> = {}): Promise<Sandbox> {
  const all = { memoryMib: 64, cpuMillis: 1000, pids: 32, diskMib: 16, ...limits };
  const id = `sbx_user${process.pid}x${made++}`;
  return driver.create({ id, jobId: "job_user", limits: all, mounts: [], doors: [] });
}

async function shell(sandbox: Sandbox, line: string) {
  const { exitCode, outOfMemory, met, text } = await finish(
    await sandbox.exec({ argv: ["sh", "-c", line], env: {} }),
  );
  return { exitCode, outOfMemory, met, text };
}

async function reasonOf(call: Promise<unknown>): Promise<string> {
  try {
    await call;
    return "none";
  } catch (error: unknown) {
    return error instanceof DevmeshError ? error.message : String(error);
  }
}

/** 36 MiB of files in memory that four processes have open, and 8 MiB in a folder that nobody may read. */
function fairSource(): string {
  return String.raw`
    use POSIX ();
    my ($name, @held) = ("m\0");
    for (1 .. 3) {
      my $fd = syscall((POSIX::uname())[4] eq 'aarch64' ? 279 : 319, $name, 0);
      open(my $f, '+<&=', $fd); push @held, $f;
      syswrite($f, 'x' x (1 << 20)) for 1 .. 12;
    }
    mkdir '/work/closed'; open(my $g, '>', '/work/closed/file');
    syswrite($g, 'x' x (1 << 20)) for 1 .. 8;
    close $g; chmod 0, '/work/closed';
    for (1 .. 3) { next if fork; select undef, undef, undef, 3; exit 0 }
    1 while wait != -1;
    opendir(my $d, '/work/closed') or print "closed";`;
}

const probe = await driver.probe();
if (!probe.available) {
  console.log(JSON.stringify({ probe }));
  process.exit(0);
}
const fractional = await reasonOf(create({ cpuMillis: 500 }));
const sandbox = await create();
const { receipt } = sandbox;
const hello = await shell(sandbox, "echo hello; id -u");
const hog = await shell(sandbox, "perl -e '$x = \"x\" x (200 << 20); sleep 60'");
const flood = await shell(sandbox, "while :; do dd if=/dev/zero of=$(mktemp) bs=1M count=4; done");
const stats = await sandbox.stats();

// Within its caps, though it shares memory, closes folders, and others fill the host's disk.
const fair = await create();
const fairProgram = await fair.exec({
  argv: ["perl", "-e", fairSource()],
  env: {},
});
writeFileSync(join(stateDir, "others"), Buffer.alloc(40 << 20));
const fairEnd = await finish(fairProgram);
const fairStats = await fair.stats();
rmSync(join(stateDir, "others"));
await fair.delete();

const ticking = await create();
const ticker = await ticking.exec({
  argv: ["sh", "-c", "while :; do echo x >> /work/ticks; sleep 0.01; done"],
  env: {},
});
const ticks = async () => Number((await shell(ticking, "wc -l < /work/ticks")).text);
while ((await ticks()) < 5) await pause(20);
await ticking.freeze();
const before = (await ticking.stats()).cpuMs;
await pause(300);
const whileFrozen = (await ticking.stats()).cpuMs - before;
await ticking.resume();
const atResume = await ticks();
while ((await ticks()) <= atResume) await pause(20);
await ticking.freeze();
const began = performance.now();
await ticking.delete();
const deleteMs = performance.now() - began;
const { exitCode } = await ticker.exit;
await sandbox.delete();
const left = readdirSync(`${stateDir}/process`).filter((name) => name.startsWith("sbx_"));
console.log(
  JSON.stringify({
    ...{ probe, fractional, receipt, hello, hog, flood, stats },
    ...{ fairEnd: { exitCode: fairEnd.exitCode, text: fairEnd.text }, fairStats },
    ...{ whileFrozen, deleteMs, exitCode, left },
  }),
);
