/** Sandboxes of sandbox-runtime as an ordinary user makes them; says what was seen as one line of JSON. */
import { once } from "node:events";
import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { DevmeshError } from "@devmesh/mesh/errors";
import type { Sandbox, SandboxDoor } from "../../services/vm/drivers/driver.ts";
import {
  loadSandboxRuntime,
  type SandboxRuntime,
} from "../../services/vm/drivers/process/sandbox-runtime.ts";
import { SeatbeltDriver } from "../../services/vm/drivers/process/seatbelt-driver.ts";
import { archive, finish } from "../../services/vm/drivers/suite/harness.ts";

const [, , stateDir = "", mode = ""] = process.argv;

/** A library of the same form that protects from nothing, or misses something. */
function standIn(more: Partial<SandboxRuntime> = {}): () => Promise<SandboxRuntime> {
  return async () => ({
    isSupportedPlatform: () => true,
    checkDependencies: () => ({ errors: [], warnings: [] }),
    initialize: async () => {},
    wrapWithSandboxArgv: async (line, shell) => ({ argv: [shell, "-c", line] }),
    reset: async () => {},
    ...more,
  });
}

const loads: Record<string, () => Promise<SandboxRuntime>> = {
  real: loadSandboxRuntime,
  open: standIn(),
  missing: standIn({ checkDependencies: () => ({ errors: ["no sandbox-exec"], warnings: [] }) }),
  foreign: standIn({ isSupportedPlatform: () => false }),
  broken: standIn({ wrapWithSandboxArgv: async () => ({ argv: ["/bin/false"] }) }),
};
const driver = new SeatbeltDriver({
  stateDir,
  acceptUnboundedCpu: mode !== "unaccepted",
  load: loads[mode] ?? loadSandboxRuntime,
});
let made = 0;

function create(doors: SandboxDoor[] = []): Promise<Sandbox> {
  const limits = { memoryMib: 128, cpuMillis: 1000, pids: 16, diskMib: 16 };
  const id = `sbx_seat${process.pid}x${made++}`;
  return driver.create({ id, jobId: "job_seat", limits, mounts: [], doors });
}

async function reasonOf(call: Promise<unknown>): Promise<string> {
  try {
    await call;
    return "none";
  } catch (error: unknown) {
    return error instanceof DevmeshError ? `${error.reason}: ${error.message}` : String(error);
  }
}

function left(): string[] {
  return readdirSync(join(stateDir, "process")).filter((name) => name !== "doors");
}

async function usual() {
  const probe = await driver.probe();
  if (!probe.available) return { probe };
  const sandbox = await create();
  const shell = async (line: string) => {
    const program = await sandbox.exec({ argv: ["sh", "-c", line], env: {} });
    const { exitCode, outOfMemory, met, text } = await finish(program);
    return { exitCode, outOfMemory, met, text };
  };
  await sandbox.put(archive([{ name: "in/file", data: "put" }]));
  const outside = join(stateDir, "outside");
  writeFileSync(outside, "secret");
  const seen = {
    probe,
    receipt: sandbox.receipt,
    hello: await shell("cat in/file; echo; echo made > out; echo $FOO$HOSTVAR; pwd"),
    escape: await shell(`cat ${outside}; echo x > ${outside}.written`),
    packed: (await buffer(await sandbox.get())).includes("made"),
    missing: await reasonOf(sandbox.exec({ argv: ["no-such-program"], env: {} })),
    input: (
      await finish(await sandbox.exec({ argv: ["cat"], env: {}, input: Buffer.from("given") }))
    ).text,
    hog: await shell("perl -e '$x = \"x\" x (300 << 20); sleep 60'"),
    bomb: await shell("for i in $(seq 40); do sleep 60 & done; wait"),
    flood: await shell("while :; do dd if=/dev/zero of=$(mktemp) bs=1M count=4; done"),
  };
  const stats = await sandbox.stats();
  const stubborn = "trap '' TERM; sleep 600 & sleep 600";
  const lasting = await sandbox.exec({ argv: ["sh", "-c", stubborn], env: {} });
  const before = await sandbox.processes?.();
  await sandbox.endPrograms();
  const after = await sandbox.processes?.();
  const ended = { before, after, ...(await lasting.exit), next: (await shell("echo on")).text };
  const sleeper = await sandbox.exec({ argv: ["sh", "-c", "sleep 600 & sleep 600"], env: {} });
  await sandbox.freeze();
  await sandbox.delete();
  const { exitCode } = await sleeper.exit;
  const wasWritten = existsSync(`${outside}.written`);
  const server = createServer().listen(join(stateDir, "door.sock"));
  await once(server, "listening");
  const socketPath = join(stateDir, "door.sock");
  const port = await reasonOf(create([{ name: "backend", socketPath, port: 8080 }]));
  server.close();
  return { ...seen, stats, ended, exitCode, wasWritten, port, left: left() };
}

const answer =
  mode === "real"
    ? await usual()
    : { probe: await driver.probe(), refused: await reasonOf(create()), left: left() };
await driver.close();
console.log(JSON.stringify(answer));
process.exit(0);
