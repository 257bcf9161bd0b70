/** Runners on hosts that reach the backend's port and nothing else, one of which is cut off. */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { cpSync, readFileSync } from "node:fs";
import { createConnection } from "node:net";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { expect } from "chai";
import { makeNetHosts, type NetHost, type NetHosts } from "../../scripts/parts/netns.ts";
import { type Postgres, startPostgres } from "../../scripts/parts/postgres.ts";
import { AgentStatus, JobStatus } from "../../sdk/ts/src/node.ts";
import { log, need } from "../parts/need.ts";
import { tempFolder } from "../sdk/temp-folder.ts";
import { runOnFolder } from "./main-flow.workspace.ts";
import { mountsWith, processesWith } from "./processes.ts";
import { root } from "./program.ts";
import { type Joined, marker, RemoteBed } from "./remote-runner.bed.ts";
import { writeScript } from "./script.ts";
import { until } from "./wait.ts";

/** Counts to 40 in about two seconds and more. */
const counting =
  "i=0; while [ $i -lt 40 ]; do i=$((i+1)); echo line $i; sleep 0.05; done; echo end";
const counted = `${Array.from({ length: 40 }, (_, i) => `line ${i + 1}\n`).join("")}end\n`;

/** A whole minute without the cable; else as long as it takes for the lease to be lost. */
const isSlow = process.env.DEVMESH_SLOW_TESTS === "true";

describe("runners on hosts of their own", function () {
  this.timeout(isSlow ? 400_000 : 180_000);
  let net: NetHosts;
  let postgres: Postgres;
  let bed: RemoteBed;
  let a: Joined;
  let b: Joined;
  const hostOf = (id: string): NetHost => {
    const host = net.hosts[id === a.id ? 0 : 1];
    if (host === undefined) throw new Error("no such host");
    return host;
  };

  before(async function () {
    net = need(this, await makeNetHosts(2, { log }));
    postgres = need(this, await startPostgres({ log }));
    using script = tempFolder();
    bed = await RemoteBed.open(net.address, {
      ...{ STORAGE_URL: postgres.url, SCRIPTED_PATH: writeScript(script.path) },
      LEASE_TTL_MS: isSlow ? "12000" : "3000",
    });
    [a, b] = (await Promise.all(
      ["a", "b"].map((name, i) =>
        bed.join({ name, labels: `zone=${name},pool=x`, prefix: net.hosts[i]?.prefix ?? [] }),
      ),
    )) as [Joined, Joined];
  });
  after(async () => {
    for (const host of net?.hosts ?? []) await host.mend();
    await bed?.close();
    await postgres?.stop();
    await net?.remove();
  });

  /** True if a host reaches an address. */
  const reaches = ({ prefix }: NetHost, host: string, port: number) => {
    const [command = "", ...words] = prefix;
    const program = `require("net").connect(${port}, "${host}").setTimeout(3000, () => process.exit(1)).on("connect", () => process.exit(0)).on("error", () => process.exit(1))`;
    try {
      execFileSync(command, [...words, process.execPath, "-e", program], { stdio: "pipe" });
      return true;
    } catch {
      return false;
    }
  };

  it("reach the backend, and neither each other nor the database", async () => {
    const [hostA, hostB] = net.hosts;
    if (hostA === undefined || hostB === undefined) throw new Error("two hosts");
    const port = Number(new URL(bed.url).port);
    const database = Number(new URL(postgres.url).port);
    // The database is there: for this machine.
    await new Promise<void>((resolve, reject) => {
      const socket = createConnection(database, "127.0.0.1", () => resolve());
      socket.once("error", reject).once("connect", () => socket.destroy());
    });
    for (const host of [hostA, hostB]) {
      expect(reaches(host, net.address, port)).to.equal(true);
      expect(reaches(host, net.address, database)).to.equal(false);
      expect(reaches(host, "127.0.0.1", database)).to.equal(false);
    }
    expect(reaches(hostA, hostB.address, port)).to.equal(false);
    expect(reaches(hostB, hostA.address, port)).to.equal(false);
  });

  it("open no port", () => {
    for (const { program } of [a, b]) {
      for (const family of ["tcp", "tcp6"]) {
        const table = readFileSync(`/proc/${program.child.pid}/net/${family}`, "utf8");
        const listening = table.split("\n").filter((line) => / 0A /.test(line));
        expect(listening, family).to.deep.equal([]);
      }
    }
  });

  it("run jobs that ask for them, with a folder in and files out", async () => {
    using folder = tempFolder({ "in.txt": "hello\n" });
    for (const [name, { id }] of Object.entries({ a, b })) {
      const command = ["sh", "-c", `cat in.txt; echo from ${name} > out.txt`];
      const work = { command, runnerLabels: { zone: name } };
      const { jobId, result } = await runOnFolder(bed, folder.path, work);
      expect(result, result.message).to.include({ outcome: JobStatus.SUCCEEDED });
      expect(result.artifacts.map((artifact) => artifact.name)).to.include("changes.patch");
      expect((await bed.devmesh.jobs.get(jobId)).runner).to.equal(id);
    }
  });

  it("run the agent, its models and its context by way of the backend", async () => {
    using copy = tempFolder();
    cpSync(join(root, "examples", "ledger"), copy.path, { recursive: true });
    const agent = {
      task: "A test of this project fails. Find the bug and make the tests pass.",
      model: "scripted/ledger-replay",
      testArgv: ["node", "--test"],
    };
    const work = { agent, runnerLabels: { zone: "b" } };
    const { jobId, result } = await runOnFolder(bed, copy.path, work);
    expect(result, result.message).to.include({ outcome: JobStatus.SUCCEEDED });
    expect(result.agent).to.include({ testsBefore: "failed", testsAfter: "passed" });
    expect((await bed.devmesh.jobs.get(jobId)).runner).to.equal(b.id);
    const topics: string[] = [];
    for await (const { kind } of bed.devmesh.jobs.events(jobId)) {
      if (kind.case === "note" && kind.value.topic === "context") topics.push(kind.value.message);
    }
    expect(topics[0]).to.match(/^context: \d+ items/);
  });

  it("lose nothing to a cut that their lease outlives", async () => {
    const id = await bed.start(counting, { zone: "a" });
    await bed.untilLine(id, "line 3\n");
    const host = hostOf(a.id);
    const said = () => a.program.out() + a.program.err();
    const failures = () => said().split("a call to the backend failed").length;
    const before = failures();
    await host.cut();
    await until("the runner misses the backend", () => failures() > before);
    await host.mend();
    const result = await bed.devmesh.jobs.wait(id);
    expect(result, result.message).to.include({ outcome: JobStatus.SUCCEEDED });
    const { log: text } = await bed.story(id);
    expect(text).to.equal(counted);
    expect(result.logSha256).to.equal(createHash("sha256").update(counted).digest("hex"));
  });

  it("that are cut off for long lose the job to another, do nothing twice, and come back", async () => {
    const mark = marker();
    const id = await bed.start(`${counting} # ${mark}`, { pool: "x" });
    const { runner: lost } = await bed.untilLine(id, "line 3\n");
    const host = hostOf(lost);
    const other = lost === a.id ? b.id : a.id;
    const cutAtMs = performance.now();
    await host.cut();
    const result = await bed.devmesh.jobs.wait(id);
    expect(result, result.message).to.include({ outcome: JobStatus.SUCCEEDED, exitCode: 0 });
    const done = await bed.devmesh.jobs.get(id);
    expect([done.attempt, done.runner]).to.deep.equal([2, other]);
    expect(await bed.story(id)).to.deep.equal({ log: counted, starts: 2 });
    expect(result.logSha256).to.equal(createHash("sha256").update(counted).digest("hex"));
    const leftMs = cutAtMs + 60_000 - performance.now();
    if (isSlow && leftMs > 0) await delay(leftMs);
    await host.mend();
    const isAlive = async () => {
      const agent = (await bed.devmesh.agents.list()).find((agent) => agent.id === lost);
      return agent?.status === AgentStatus.ALIVE;
    };
    await until("the host that was cut off is back", isAlive);
    // What it still tried to tell was kept out, and changed nothing.
    const { fencedWrites } = await until("its late write is fenced", async () => {
      const inspected = await bed.devmesh.jobs.inspect(id);
      return inspected.fencedWrites.length > 0 && inspected;
    });
    for (const { epoch, runner } of fencedWrites) {
      expect(epoch).to.equal(1);
      expect([lost, ""]).to.include(runner);
    }
    expect(await bed.devmesh.jobs.get(id)).to.deep.equal(done);
    expect(await bed.story(id)).to.deep.equal({ log: counted, starts: 2 });
    await until("nothing of the lost attempt runs", () => processesWith(mark).length === 0);
    expect(mountsWith(bed.folder.path)).to.deep.equal([]);
    const again = await bed.start("echo back", { zone: lost === a.id ? "a" : "b" });
    const end = await bed.devmesh.jobs.wait(again);
    expect(end, end.message).to.include({ outcome: JobStatus.SUCCEEDED });
    expect((await bed.devmesh.jobs.get(again)).runner).to.equal(lost);
  });
});
