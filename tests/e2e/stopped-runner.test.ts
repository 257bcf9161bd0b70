/** A runner that stands still (SIGSTOP) while another takes its job over, and that is continued then. */
import { createHash, randomBytes, randomInt } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import { freePort } from "../../scripts/parts/free-port.ts";
import { createDevmesh, JobStatus, type NodeDevmesh } from "../../sdk/ts/src/node.ts";
import { runCli } from "../cli/run-cli.ts";
import { type TempFolder, tempFolder } from "../sdk/temp-folder.ts";
import { mountsWith, processesWith } from "./processes.ts";
import { type Program, startProgram } from "./program.ts";
import { until } from "./wait.ts";

/** More than a pipe holds: a program whose runner stands still waits in the middle of it. */
const bulkBytes = 1_000_000;

/** Counts to 15 in about a second, then writes the bulk. */
const counting =
  "i=0; while [ $i -lt 15 ]; do i=$((i+1)); echo line $i; sleep 0.08; done; " +
  `head -c ${bulkBytes} /dev/zero | tr '\\0' x; echo end`;
const written =
  Array.from({ length: 15 }, (_, i) => `line ${i + 1}\n`).join("") +
  `${"x".repeat(bulkBytes)}end\n`;

describe("a runner that is stopped and continued", function () {
  this.timeout(180_000);
  let folder: TempFolder;
  let env: Record<string, string>;
  let token: string;
  let devmesh: NodeDevmesh;
  const programs: Program[] = [];

  beforeEach(async () => {
    folder = tempFolder();
    const apiPort = await freePort();
    env = {
      API_PORT: String(apiPort),
      API_URL: `http://127.0.0.1:${apiPort}`,
      DEVMESH_SERVICE_TOKEN: randomBytes(24).toString("base64url"),
      LOG_LEVEL: "info",
      SANDBOX_DRIVERS: "process",
      // Shorter than the default, so that seconds are long.
      LEASE_TTL_MS: "2000",
      // What is kept ready is nothing that an attempt has left.
      SANDBOX_WARM: "0",
    };
    await start("api", "api", apiPort);
    token = readFileSync(join(folder.path, "api", "owner.token"), "utf8").trim();
    devmesh = createDevmesh({ baseUrl: String(env.API_URL), token });
  });
  afterEach(async () => {
    devmesh?.close();
    for (const program of programs.splice(0).reverse()) {
      program.child.kill("SIGCONT");
      if (program.child.exitCode === null) await program.end("SIGTERM");
    }
    folder[Symbol.dispose]();
  });

  /** Starts a service with a data folder of its own, and waits until it serves. */
  async function start(service: string, name: string, port: number): Promise<Program> {
    const own = join(folder.path, name);
    mkdirSync(own);
    const all = { ...env, HOME: own, DEVMESH_DATA_DIR: own };
    const program = startProgram({ args: ["serve", service], env: all });
    programs.push(program);
    await until(`${name} serves`, async () => {
      if (program.child.exitCode !== null) throw new Error(`it has ended: ${program.err()}`);
      try {
        return (await fetch(`http://127.0.0.1:${port}/livez`)).ok;
      } catch {
        // It does not listen yet.
        return false;
      }
    });
    return program;
  }

  async function startRunner(name: string): Promise<Program> {
    const port = await freePort();
    env.VM_PORT = String(port);
    const known = (await devmesh.agents.list()).length;
    const program = await start("vm", name, port);
    await until(`${name} can run jobs`, async () => {
      const agents = (await devmesh.agents.list()).slice(0, known + 1);
      return agents.length > known && agents.every(canRun);
    });
    return program;
  }

  const canRun = (agent: { readonly capabilities: readonly { readonly available: boolean }[] }) =>
    agent.capabilities.some(({ available }) => available);

  async function untilLine(id: string, line: string): Promise<void> {
    let text = "";
    for await (const { kind } of devmesh.jobs.watch(id)) {
      if (kind.case === "log") text += Buffer.from(kind.value.data).toString();
      if (text.includes(line)) return;
    }
    throw new Error(`the job ended before ${line}`);
  }

  /** What the last attempt wrote, and the number of attempts, of events without a gap. */
  async function lastLog(id: string): Promise<string> {
    let pieces: Uint8Array[] = [];
    let seq = 0;
    for await (const event of devmesh.jobs.events(id)) {
      seq += 1;
      expect(event.seq).to.equal(seq);
      const { kind } = event;
      if (kind.case === "status" && kind.value.status === JobStatus.RUNNING) pieces = [];
      if (kind.case === "log") pieces.push(kind.value.data);
    }
    return Buffer.concat(pieces).toString();
  }

  it("spoils nothing of the job's second run, removes all of its own, and works on", async () => {
    const stopped = await startRunner("a");
    const marker = `marker-${randomInt(1e9)}`;
    const command = ["sh", "-c", `${counting} # ${marker}`];
    const { jobId } = await devmesh.jobs.create({ command });
    await untilLine(jobId, "line 3\n");
    const first = (await devmesh.jobs.get(jobId)).runner;
    stopped.child.kill("SIGSTOP");

    const other = await startRunner("b");
    const result = await devmesh.jobs.wait(jobId);
    expect(result, result.message).to.include({ outcome: JobStatus.SUCCEEDED, exitCode: 0 });
    const done = await devmesh.jobs.get(jobId);
    expect(done.attempt).to.equal(2);
    expect(done.runner).to.not.equal(first);
    // Nobody stops what runs below a runner that stands still: it waits for its reader.
    expect(processesWith(marker)).to.not.deep.equal([]);

    stopped.child.kill("SIGCONT");
    await until("all of the lost attempt is removed", () => {
      const vm = join(folder.path, "a", "vm");
      const left = readdirSync(vm, { recursive: true, encoding: "utf8" });
      const isClean = !left.some((name) => /(sbx|job)_/.test(name));
      return isClean && processesWith(marker).length === 0;
    });
    expect(mountsWith(folder.path)).to.deep.equal([]);
    expect(await lastLog(jobId)).to.equal(written);
    expect(result.logSha256).to.equal(createHash("sha256").update(written).digest("hex"));
    expect(await devmesh.jobs.get(jobId)).to.deep.equal(done);

    // With the other one gone it is the only one left.
    expect(await other.end("SIGTERM")).to.equal(0);
    const next = await devmesh.jobs.create({ command: ["echo", "again"] });
    const end = await devmesh.jobs.wait(next.jobId);
    expect(end, end.message).to.include({ outcome: JobStatus.SUCCEEDED });
    expect((await devmesh.jobs.get(next.jobId)).runner).to.equal(first);

    const { fencedWrites } = await devmesh.jobs.inspect(jobId);
    expect(fencedWrites).to.not.deep.equal([]);
    for (const { epoch, runner } of fencedWrites) {
      expect(epoch).to.equal(1);
      expect([first, ""]).to.include(runner);
    }
    const shown = await runCli(["jobs", "get", jobId, "--events"], {
      env: { DEVMESH_URL: String(env.API_URL), DEVMESH_TOKEN: token },
    });
    expect(shown.out).to.match(/^fenced +(append|renew)/m);
  });
});
