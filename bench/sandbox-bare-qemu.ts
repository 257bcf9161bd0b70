/**
 * The floor of virtual machines: the same QEMU and kernel without anything of
 * ours, booted cold to a shell on its serial line, and restored from a snapshot
 * of that. Nothing but a question and its answer runs in it.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { cpioArchive } from "../deploy/guest/cpio.ts";
import { unpackKernel } from "../deploy/guest/kernel-image.ts";
import { findBinary } from "../scripts/parts/debian.ts";
import type { Qemu } from "../scripts/parts/qemu.ts";
import type { Figures, System } from "./bench.ts";
import { summary } from "./sandbox-systems.ts";

/** The program of the floor of exec, on this host and in the guest. */
const program = "/bin/echo";

/** Answers each line that it reads: itself, or by a program. More is not needed to tell that a guest lives. */
const init = `#!/bin/busybox sh
/bin/busybox mount -t devtmpfs dev /dev
exec </dev/ttyS0 >/dev/ttyS0 2>&1
/bin/busybox stty -echo
echo hello
while read -r how line; do
  case $how in say) echo "answer $line" ;; run) ${program} "answer $line" ;; esac
done`;

const machine = "microvm,acpi=off,x-option-roms=off,isa-serial=on,rtc=off,pit=on,pic=on";

/** How often a socket that is not there yet is looked for. */
const lookMs = 2;

/** A guest that answers, and QEMU's monitor. */
interface BareGuest {
  /** Once its shell reads; a line that comes sooner is lost with the serial port's opening. */
  booted(): Promise<void>;
  /** Once all that was saved runs again; what its serial port is sent before that is lost. */
  resumed(snapshot: string): Promise<void>;
  /** `say`: the shell answers by itself; `run`: by a program of its own. */
  ask(how: "say" | "run", line: string): Promise<void>;
  command(execute: string, args?: object): Promise<void>;
  end(): Promise<void>;
}

/** Bare QEMU: `restores` guests in turn a round, or one cold boot. */
export async function bareQemu(
  { binary, kernelPath }: Qemu,
  kind: "restore" | "cold boot",
  count: number,
): Promise<System> {
  const folder = await guestFolder(kernelPath);
  const snapshot = join(folder, "snapshot");
  if (kind === "restore") {
    const guest = await startGuest(binary, folder, []);
    await guest.booted();
    await guest.ask("say", "ready");
    await guest.command("migrate", { uri: `exec:cat > ${snapshot}` });
    await guest.command("query-migrate");
    await guest.end();
  }
  const incoming = kind === "restore" ? ["-incoming", "defer"] : [];
  return {
    name: `bare QEMU, ${kind}`,
    async round(): Promise<Figures> {
      const tookMs: number[] = [];
      for (let i = 0; i < count; i++) {
        const startedAt = performance.now();
        const guest = await startGuest(binary, folder, incoming);
        await (kind === "restore" ? guest.resumed(snapshot) : guest.booted());
        await guest.ask("say", `number ${i}`);
        tookMs.push(performance.now() - startedAt);
        await guest.end();
      }
      return summary(tookMs);
    },
    close: () => rm(folder, { recursive: true, force: true }),
  };
}

/** Bare QEMU: one guest, whose shell starts a program `count` times a round. */
export async function bareQemuExec({ binary, kernelPath }: Qemu, count: number): Promise<System> {
  const folder = await guestFolder(kernelPath);
  const guest = await startGuest(binary, folder, []);
  await guest.booted();
  return {
    name: "bare QEMU, a program",
    async round(): Promise<Figures> {
      const tookMs: number[] = [];
      for (let i = 0; i < count; i++) {
        const startedAt = performance.now();
        await guest.ask("run", `number ${i}`);
        tookMs.push(performance.now() - startedAt);
      }
      return summary(tookMs);
    },
    async close() {
      await guest.end();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** A kernel, and a system of a shell and one program with its libraries. */
async function guestFolder(kernelPath: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "devmesh-bare-qemu-"));
  await writeFile(join(folder, "vmlinux"), unpackKernel(await readFile(kernelPath)));
  const ldd = execFileSync("ldd", [program], { encoding: "utf8" });
  const paths = [program, ...[...ldd.matchAll(/(\/\S+) \(0x/g)].map(([, path = ""]) => path)];
  const folders = new Set(["bin", "dev"]);
  for (const path of paths) {
    const parts = dirname(path).slice(1).split("/");
    for (const i of parts.keys()) folders.add(parts.slice(0, i + 1).join("/"));
  }
  const busybox = await readFile(findBinary("busybox") ?? "busybox");
  const archive = cpioArchive([
    ...[...folders].map((path) => ({ path })),
    { path: "init", data: Buffer.from(init) },
    { path: "bin/busybox", data: busybox },
    ...(await Promise.all(
      paths.map(async (path) => ({ path: path.slice(1), data: await readFile(path) })),
    )),
  ]);
  await writeFile(join(folder, "initramfs"), archive);
  return folder;
}

async function startGuest(
  binary: string,
  folder: string,
  incoming: readonly string[],
): Promise<BareGuest> {
  const own = await mkdtemp(join(folder, "guest-"));
  const serialPath = join(own, "serial");
  const monitorPath = join(own, "monitor");
  const child = spawn(
    binary,
    [
      ...["-M", machine, "-accel", "tcg,thread=single", "-cpu", "max", "-m", "192"],
      ...["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"],
      ...["-kernel", join(folder, "vmlinux"), "-initrd", join(folder, "initramfs")],
      ...["-append", "console=ttyS0 quiet panic=-1 reboot=t"],
      ...["-serial", `unix:${serialPath},server=on,wait=off`],
      ...["-qmp", `unix:${monitorPath},server=on,wait=off`],
      ...incoming,
    ],
    { stdio: "ignore" },
  );
  const [serial, monitor] = await Promise.all([
    connected(serialPath, child),
    connected(monitorPath, child),
  ]);
  const said = new Lines(serial);
  const answers = new Lines(monitor);
  await answers.until((line) => line.includes('"QMP"'));
  const command = async (execute: string, args?: object) => {
    monitor.write(`${JSON.stringify({ execute, ...(args && { arguments: args }) })}\n`);
    await answers.until((line) => line.includes('"return"'));
    // A migration goes on after its command was answered.
    while (execute === "query-migrate" && !answers.last.includes('"completed"')) {
      monitor.write(`${JSON.stringify({ execute })}\n`);
      await answers.until((line) => line.includes('"return"'));
    }
  };
  await command("qmp_capabilities");
  return {
    command,
    booted: () => said.until((line) => line.includes("hello")),
    async resumed(snapshot) {
      await command("migrate-incoming", { uri: `exec:cat ${snapshot}` });
      await answers.until((line) => line.includes('"RESUME"'));
    },
    async ask(how, line) {
      serial.write(`${how} ${line}\n`);
      await said.until((answer) => answer.includes(`answer ${line}`));
    },
    async end() {
      const gone = once(child, "exit");
      child.kill("SIGKILL");
      await gone;
      await rm(own, { recursive: true, force: true });
    },
  };
}

/** Once somebody listens there: the file comes first. */
async function connected(path: string, child: ChildProcess): Promise<Socket> {
  for (;;) {
    if (child.exitCode !== null) throw new Error(`QEMU ended with ${child.exitCode}`);
    const socket = connect(path);
    try {
      await once(socket, "connect");
      return socket;
    } catch {
      await delay(lookMs);
    }
  }
}

/** Lines as they come, one taker at a time. */
class Lines {
  last = "";
  readonly #lines: AsyncIterator<string>;

  constructor(socket: Socket) {
    this.#lines = createInterface({ input: socket })[Symbol.asyncIterator]();
  }

  async until(isIt: (line: string) => boolean): Promise<void> {
    for (;;) {
      const { value, done } = await this.#lines.next();
      if (done) throw new Error("the guest ended");
      this.last = value;
      if (isIt(value)) return;
    }
  }
}
