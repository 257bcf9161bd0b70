/** What a job and an operator see of real sandboxes: receipts, caps, halting, removal, leftovers. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import { findBubblewrap } from "../../scripts/parts/bubblewrap.ts";
import { type JobConditions, JobStatus } from "../../sdk/ts/src/node.ts";
import { log, need } from "../parts/need.ts";
import { type TempFolder, tempFolder } from "../sdk/temp-folder.ts";
import { runProgram } from "./program.ts";
import { startUp, type Up, untilRunner } from "./up.ts";
import { until } from "./wait.ts";

const mib = 1024 * 1024;

describe("sandboxes of a platform", function () {
  this.timeout(120_000);
  let folder: TempFolder;
  let dataDir: string;
  let up: Up;

  before(async function () {
    need(this, await findBubblewrap({ log }));
    folder = tempFolder();
    dataDir = join(folder.path, "data");
    mkdirSync(dataDir, { mode: 0o755 });
    up = await startUp({ dataDir });
    await untilRunner(up);
  });
  after(async () => {
    await up?.stop();
    folder?.[Symbol.dispose]();
  });

  const cli = (...args: string[]) => {
    const env = { HOME: dataDir, DEVMESH_URL: up.url, DEVMESH_DATA_DIR: dataDir };
    return runProgram({ args, env, limitMs: 60_000 });
  };
  const onHost = (...args: string[]) =>
    cli("sandboxes", ...args, "--json", "--host", `http://127.0.0.1:${up.ports.vm}`);

  async function resultOf(program: string, limits: JobConditions["limits"]) {
    const command = ["sh", "-c", program];
    const { jobId } = await up.devmesh.jobs.create({ command, limits: { ...limits } });
    return { jobId, result: await up.devmesh.jobs.wait(jobId) };
  }

  it("shows the kernel's values in the job's events, by the command line", async () => {
    const caps = ["--memory", "64m", "--disk", "64m", "--pids", "50", "--cpus", "0.5"];
    const { code, out, err } = await cli("run", ...caps, "--json", "--", "true");
    expect(code, err).to.equal(0);
    const lines = out
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    const receipt = lines.find(({ topic }) => topic === "sandbox.receipt")?.payload as Record<
      string,
      { value: unknown; source: string }
    >;
    expect(receipt.memoryBytes?.value).to.equal(64 * mib);
    expect(receipt.pids?.value).to.equal(50);
    expect(receipt.cpuMillis?.value).to.equal(500);
    expect(receipt.diskBytes?.value).to.be.within(32 * mib, 64 * mib);
    expect(receipt.interfaces?.value).to.deep.equal(["lo"]);
    expect(receipt.noNewPrivileges?.value).to.equal(true);
    for (const name of ["memoryBytes", "pids", "cpuMillis", "diskBytes", "seccomp"]) {
      expect(receipt[name]?.source, name).to.not.equal("");
    }
    const result = lines.at(-1) as { usage?: Record<string, string> };
    expect(Number(result.usage?.peakMemoryBytes)).to.be.greaterThan(0);
  });

  for (const [what, program, limits, reason] of [
    [
      "memory",
      "exec perl -e '$x = q(x) x (256 << 20); sleep 9'",
      { memoryMib: 64 },
      "OUT_OF_MEMORY",
    ],
    [
      "processes",
      "n=0; while [ $n -lt 60 ]; do sleep 9 & n=$((n+1)); done; exit 3",
      { pids: 24 },
      "PIDS_LIMIT",
    ],
    ["the disk", "exec dd if=/dev/zero of=/work/full bs=1M", { diskMib: 32 }, "DISK_FULL"],
    ["time", "exec sleep 60", { runTimeoutMs: 1_000 }, "TIMEOUT"],
    ["silence", "exec sleep 60", { silenceTimeoutMs: 1_000 }, "SILENT"],
  ] as const) {
    it(`ends a job that uses up ${what} with ${reason}`, async () => {
      const { result } = await resultOf(program, limits);
      expect(result.reason, result.message).to.equal(reason);
      expect(result.outcome).to.equal(JobStatus.FAILED);
    });
  }

  it("tells for how long the processor was held back", async () => {
    const burn = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done";
    const { result } = await resultOf(burn, { cpuMillis: 100 });
    expect(Number(result.usage?.cpuMs)).to.be.greaterThan(0);
    expect(Number(result.usage?.throttledMs)).to.be.greaterThan(0);
  });

  it("lets the host's operator look into a sandbox, halt it, and remove it from under its job", async () => {
    const command = ["sh", "-c", "echo ready; exec sleep 600"];
    const { jobId } = await up.devmesh.jobs.create({ command, maxAttempts: 1 });
    const list = async () =>
      (JSON.parse((await onHost()).out) as { sandboxes: { id: string; jobId: string }[] })
        .sandboxes;
    const id = await until(
      "its sandbox is there",
      async () => (await list()).find((sandbox) => sandbox.jobId === jobId)?.id,
    );
    const { out } = await onHost("get", id);
    const detail = JSON.parse(out) as {
      sandbox: { state: string };
      receipt: { pids: { value: number } };
      stats: { memoryBytes: string };
    };
    expect(detail.sandbox.state).to.equal("running");
    expect(detail.receipt.pids.value).to.equal(512);
    expect(JSON.parse((await onHost("freeze", id)).out).sandbox.state).to.equal("frozen");
    expect(JSON.parse((await onHost("resume", id)).out).sandbox.state).to.equal("running");
    expect(JSON.parse((await onHost("freeze", id)).out).sandbox.state).to.equal("frozen");
    expect((await onHost("delete", id)).code).to.equal(0);
    const result = await up.devmesh.jobs.wait(jobId);
    expect(result).to.include({ outcome: JobStatus.FAILED, reason: "SANDBOX_FAILED" });
    expect(result.message).to.include("the sandbox was deleted");
    expect(await list()).to.deep.equal([]);
    const gone = await onHost("get", id);
    expect(gone.code).to.not.equal(0);
    expect(gone.err).to.include("NOT_FOUND");
  });

  it("shows what nobody owns, and removes it", async () => {
    const left = join(dataDir, "vm", "process", "sbx_left");
    mkdirSync(left);
    writeFileSync(`${left}.owner`, "999999999/1/none/none");
    const dry = JSON.parse((await onHost("sweep", "--dry-run")).out) as Record<string, unknown>;
    expect(dry.leftovers).to.have.length(1);
    const told = JSON.parse((await onHost("sweep")).out) as {
      leftovers: unknown[];
      reapedSandboxes: string[];
    };
    expect([...told.leftovers, ...told.reapedSandboxes]).to.have.length(1);
    const after = JSON.parse((await onHost("sweep", "--dry-run")).out) as Record<string, unknown>;
    expect(after.leftovers).to.deep.equal([]);
  });

  it("has doctor tell the tiers and what was left", async () => {
    const env = { HOME: dataDir, DEVMESH_URL: up.url, DEVMESH_DATA_DIR: dataDir };
    const { out } = await runProgram({ args: ["doctor", "--json"], env, limitMs: 60_000 });
    const { checks } = JSON.parse(out) as { checks: { check: string; state: string }[] };
    expect(checks.find(({ check }) => check === "leftovers")?.state).to.equal("ok");
    expect(checks.some(({ check }) => /process by process/.test(check))).to.equal(true);
  });

  it("lists the host that `up` left in the data folder, whatever its port", async () => {
    const env = { HOME: dataDir, DEVMESH_DATA_DIR: dataDir };
    for (const args of [["sandboxes"], ["sandboxes", "list"]]) {
      const { code, out, err } = await runProgram({ args: [...args, "--json"], env });
      expect(code, err).to.equal(0);
      expect(JSON.parse(out)).to.have.property("sandboxes");
    }
  });

  it("says by its exit status what went wrong", async () => {
    const missing = await onHost("get", "sbx_nosuch");
    expect(missing.code).to.equal(4);
    expect(JSON.parse(missing.err).error).to.include({ reason: "NOT_FOUND", exitCode: 4 });
    const env = { HOME: dataDir, DEVMESH_DATA_DIR: dataDir };
    const args = ["sandboxes", "--host", "http://127.0.0.1:1", "--json"];
    const away = await runProgram({ args, env });
    expect(away.code).to.equal(7);
    expect(JSON.parse(away.err).error.reason).to.equal("UNAVAILABLE");
  });

  it("refuses who has not the host's secret", async () => {
    const env = { HOME: folder.path, DEVMESH_DATA_DIR: folder.path };
    const host = `http://127.0.0.1:${up.ports.vm}`;
    const refused = await runProgram({ args: ["sandboxes", "--host", host], env });
    expect(refused.code).to.equal(3);
    expect(refused.err).to.include("DEVMESH_SERVICE_TOKEN");
  });
});
