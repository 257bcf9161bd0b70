/** `kill -9` of the whole platform, and what is true after its next start. */
import { randomInt } from "node:crypto";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import { JobStatus } from "../../sdk/ts/src/node.ts";
import { runCli } from "../cli/run-cli.ts";
import { type TempFolder, tempFolder } from "../sdk/temp-folder.ts";
import { mountsWith, processesWith } from "./processes.ts";
import { startUp, type Up, untilRunner } from "./up.ts";
import { until } from "./wait.ts";

/** Counts to 25 in about two seconds. */
const counting = "i=0; while [ $i -lt 25 ]; do i=$((i+1)); echo line $i; sleep 0.08; done";
const counted = Array.from({ length: 25 }, (_, i) => `line ${i + 1}\n`).join("");

interface Event {
  readonly seq: number;
  readonly type: string;
  readonly status?: string;
  readonly attempt?: number;
  readonly text?: string;
  readonly reason?: string;
}

describe("a platform that is killed", function () {
  this.timeout(120_000);
  let folder: TempFolder;
  let up: Up | undefined;

  beforeEach(() => {
    folder = tempFolder();
  });
  afterEach(async () => {
    if (up !== undefined) await up.stop("SIGKILL");
    up = undefined;
    folder[Symbol.dispose]();
  });

  const start = async (env: Record<string, string> = {}) => {
    // Shorter than the default, so that a lost runner is noticed soon.
    up = await startUp({ dataDir: folder.path, env: { LEASE_TTL_MS: "2000", ...env } });
    return up;
  };

  /** The events as the command line shows them, once their numbers are held to 1, 2, 3, …. */
  async function eventsOf({ url, token }: Up, id: string): Promise<Event[]> {
    const env = { DEVMESH_URL: url, DEVMESH_TOKEN: token };
    const { out, err } = await runCli(["jobs", "get", id, "--events", "--json"], { env });
    expect(err).to.equal("");
    const { events } = JSON.parse(out) as { events: Event[] };
    expect(events.map(({ seq }) => seq)).to.deep.equal(events.map((_, i) => i + 1));
    return events;
  }

  /** What the last attempt wrote. */
  function lastLog(events: readonly Event[]): string {
    const started = events.findLastIndex(({ status }) => status === "JOB_STATUS_RUNNING");
    const logs = events.slice(started).filter(({ type }) => type === "log");
    return logs.map(({ text }) => text ?? "").join("");
  }

  function expectNothingLeft(): void {
    expect(mountsWith(folder.path)).to.deep.equal([]);
    const vm = join(folder.path, "vm");
    const left = readdirSync(vm, { recursive: true, encoding: "utf8" });
    expect(left.filter((name) => /(sbx|job)_/.test(name))).to.deep.equal([]);
  }

  async function untilLine({ devmesh }: Up, id: string, line: string): Promise<void> {
    let text = "";
    for await (const { kind } of devmesh.jobs.watch(id)) {
      if (kind.case === "log") text += Buffer.from(kind.value.data).toString();
      if (text.includes(line)) return;
    }
    throw new Error(`the job ended before ${line}`);
  }

  it("runs the job again: attempt 2 succeeds, no event is missing, no process is left", async () => {
    const first = await start();
    const marker = `marker-${randomInt(1e9)}`;
    const command = ["sh", "-c", `${counting} # ${marker}`];
    const { jobId } = await first.devmesh.jobs.create({ command });
    await untilLine(first, jobId, "line 5\n");
    expect(processesWith(marker)).to.not.deep.equal([]);
    await first.stop("SIGKILL");
    // The kernel ends the sandbox with its parent, whoever that was.
    await until("the sandbox's processes are gone", () => processesWith(marker).length === 0);

    const second = await start();
    const result = await second.devmesh.jobs.wait(jobId);
    expect(result, result.message).to.include({ outcome: JobStatus.SUCCEEDED, exitCode: 0 });
    expect((await second.devmesh.jobs.get(jobId)).attempt).to.equal(2);
    const events = await eventsOf(second, jobId);
    expect(lastLog(events)).to.equal(counted);
    expect(events.at(-1)).to.include({ type: "result" });
    expect(processesWith(marker)).to.deep.equal([]);
    await second.stop();
    expectNothingLeft();
  });

  it("fails a job that may not be started again, with the reason", async () => {
    const first = await start();
    const command = ["sh", "-c", counting];
    const { jobId } = await first.devmesh.jobs.create({ command, maxAttempts: 1 });
    await untilLine(first, jobId, "line 2\n");
    await first.stop("SIGKILL");
    const second = await start();
    const result = await second.devmesh.jobs.wait(jobId);
    expect(result).to.include({ outcome: JobStatus.FAILED, reason: "RUNNER_LOST" });
    const events = await eventsOf(second, jobId);
    expect(events.at(-1)).to.include({ type: "result", reason: "RUNNER_LOST" });
  });

  it("keeps every job that it accepted, killed at any moment under load", async () => {
    const accepted = new Map<string, string>();
    for (let round = 0; round < 3; round++) {
      const platform = await start();
      const lastKey = `${round}-last`;
      const enough = randomInt(5, 40);
      let dead = false;
      const callers = Array.from({ length: 4 }, async (_, caller) => {
        for (let i = 0; !dead; i++) {
          const key = `${round}-${caller}-${i}`;
          try {
            const options = { idempotencyKey: key };
            const { jobId } = await platform.devmesh.jobs.create({ command: ["true"] }, options);
            accepted.set(key, jobId);
          } catch {
            // It is dead, or about to be: what was not acknowledged may be there or not.
            return;
          }
        }
      });
      const before = accepted.size;
      await until("some are accepted", () => accepted.size >= before + enough);
      await platform.stop("SIGKILL");
      dead = true;
      await Promise.all(callers);
      expect(accepted.has(lastKey)).to.equal(false);
    }
    const { devmesh } = await start();
    for (const [key, jobId] of accepted) {
      const again = await devmesh.jobs.create({ command: ["true"] }, { idempotencyKey: key });
      expect(again, key).to.include({ jobId, replayed: true });
    }
    const ids = [...accepted.values()];
    expect(new Set(ids).size).to.equal(ids.length);
  });

  for (const signal of ["SIGTERM", "SIGHUP"] as const) {
    it(`gives its job back at ${signal}, and finishes it without counting twice`, async () => {
      const first = await start();
      const { jobId } = await first.devmesh.jobs.create({ command: ["sh", "-c", counting] });
      await untilLine(first, jobId, "line 3\n");
      expect(await first.stop(signal)).to.equal(0);
      expectNothingLeft();

      const second = await start();
      const result = await second.devmesh.jobs.wait(jobId);
      expect(result).to.include({ outcome: JobStatus.SUCCEEDED });
      expect((await second.devmesh.jobs.get(jobId)).attempt).to.equal(1);
      const events = await eventsOf(second, jobId);
      expect(lastLog(events)).to.equal(counted);
      expect(events.filter(({ status }) => status === "JOB_STATUS_QUEUED")).to.have.length(2);
    });
  }

  it("takes no notice of a watcher that stays while it stops", async () => {
    const platform = await start();
    await untilRunner(platform);
    const { jobId } = await platform.devmesh.jobs.create({ command: ["sleep", "600"] });
    const at = `${platform.url.replace("http", "ws")}/v1/stream/${jobId}`;
    const socket = new WebSocket(at, ["devmesh.v1", `bearer.${platform.token}`]);
    await new Promise((resolve) => socket.addEventListener("message", resolve, { once: true }));
    const closed = new Promise((resolve) => socket.addEventListener("close", resolve));
    expect(await platform.stop("SIGTERM")).to.equal(0);
    await closed;
  });
});
