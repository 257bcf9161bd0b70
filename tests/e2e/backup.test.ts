/** A backup that is made under load, and the platforms that are restored from it. */
import { createHash } from "node:crypto";
import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import { History } from "../../chaos/history.ts";
import { Random } from "../../chaos/random.ts";
import type { Work } from "../../chaos/work.ts";
import { type Postgres, startPostgres } from "../../scripts/parts/postgres.ts";
import { createDevmesh } from "../../sdk/ts/src/node.ts";
import { runCli } from "../cli/run-cli.ts";
import { need } from "../parts/need.ts";
import { type TempFolder, tempFolder } from "../sdk/temp-folder.ts";
import { type Acknowledged, expectHistory, jobOf, maxAttempts } from "./backup-history.ts";
import { runProgram } from "./program.ts";
import { startUp, type Up, untilRunner } from "./up.ts";
import { until } from "./wait.ts";

const env = { LEASE_TTL_MS: "2000" };

describe("a backup under load", function () {
  this.timeout(300_000);
  let folder: TempFolder;
  let file: string;
  let acknowledged: Acknowledged;
  let up: Up | undefined;
  let postgres: Postgres | undefined;

  before(async () => {
    folder = tempFolder();
    file = join(folder.path, "backup.tar.gz");
    acknowledged = await backUpUnderLoad(join(folder.path, "first"), file);
  });
  afterEach(async () => {
    await up?.stop("SIGKILL");
    up = undefined;
  });
  after(async () => {
    await postgres?.stop();
    folder[Symbol.dispose]();
  });

  const restore = (args: readonly string[]) =>
    runProgram({ args: ["restore", file, "--json", ...args], env: { HOME: folder.path } });

  it("is a file of its owner alone, and leaves nothing beside it", () => {
    expect(statSync(file).mode & 0o777).to.equal(0o600);
    expect(readdirSync(folder.path).sort()).to.deep.equal(["backup.tar.gz", "first"]);
  });

  it("restores into an empty folder, where every job goes on", async () => {
    const dataDir = join(folder.path, "second");
    const { code, out, err } = await restore(["--data-dir", dataDir]);
    expect(err).to.equal("");
    expect(code).to.equal(0);
    expect(JSON.parse(out)).to.include({ dataDir, storage: "sqlite" });
    up = await startUp({ dataDir, env });
    await expectHistory(up, acknowledged);
  });

  it("restores into an empty Postgres, where every job goes on", async function () {
    postgres = need(this, await startPostgres());
    const dataDir = join(folder.path, "third");
    const args = ["--data-dir", dataDir, "--storage-url", postgres.url];
    const { code, out, err } = await restore(args);
    expect(err).to.equal("");
    expect(code).to.equal(0);
    expect(JSON.parse(out)).to.include({ dataDir, storage: "postgres" });
    up = await startUp({ dataDir, env: { ...env, STORAGE_URL: postgres.url } });
    await expectHistory(up, acknowledged);
  });

  it("is refused by a place that is not empty, which is left as it is", async () => {
    const dataDir = join(folder.path, "first");
    const before = contentOf(dataDir);
    const { code, err } = await restore(["--data-dir", dataDir]);
    expect(code).to.equal(5);
    const { error } = JSON.parse(err) as { error: { message: string; reason: string } };
    expect(error.reason).to.equal("ALREADY_EXISTS");
    expect(error.message).to.match(/is not empty: it has /);
    expect(contentOf(dataDir)).to.deep.equal(before);
  });

  it("is refused by a Postgres that is not empty, and says what is there", async function () {
    if (postgres === undefined) this.skip();
    const dataDir = join(folder.path, "fourth");
    const { code, err } = await restore([
      "--data-dir",
      dataDir,
      "--storage-url",
      postgres?.url ?? "",
    ]);
    expect(code).to.equal(5);
    expect(err).to.match(/schema devmesh_api is not empty: it has tables .*jobs with \d+ rows/);
    expect(existsSync(dataDir)).to.equal(false);
  });
});

/** Runs a platform under load, makes a backup in the middle of it, and kills it. */
async function backUpUnderLoad(dataDir: string, file: string): Promise<Acknowledged> {
  const up = await startUp({ dataDir, env });
  try {
    await untilRunner(up);
    const { secret } = await up.devmesh.tokens.create({
      name: "kept",
      scopes: ["read:jobs", "write:jobs"],
    });
    const caller = createDevmesh({ baseUrl: up.url, token: secret });
    const blob = Buffer.from("a blob that no job names");
    await up.devmesh.blobs.put(blob);
    const history = new History();
    const ended = new Map<string, string>();
    let isOver = false;
    const create = async (work: Work) => {
      const key = `key-${work.tag}`;
      history.add({ kind: "asked", key, work, maxAttempts });
      const { jobId, replayed } = await caller.jobs.create(jobOf(work), { idempotencyKey: key });
      history.add({ kind: "accepted", key, jobId, replayed });
      return jobId;
    };
    // It runs all the while: the backup has it in the middle.
    await create({ kind: "lines", tag: "long", count: 40, pauseMs: 100 });
    const random = new Random("backup");
    const callers = [0, 1, 2].map(async (name) => {
      for (let i = 0; !isOver; i++) {
        const kind = random.pick(["lines", "binary", "failing"] as const);
        const work = { kind, tag: `${name}-${i}`, count: random.integer(1, 50), pauseMs: 0 };
        const jobId = await create(work);
        const { logSha256 } = await caller.jobs.wait(jobId);
        ended.set(jobId, logSha256);
      }
    });
    const load = Promise.all(callers);
    await until("some jobs have ended", () => ended.size >= 3);
    const acknowledged = {
      history: [...history.entries],
      ended: new Map(ended),
      blobs: new Map([[createHash("sha256").update(blob).digest("hex"), blob.toString()]]),
      secret,
    };
    const acknowledgedJobs = history.acknowledgements;
    const { code, out, err } = await runCli(["backup", "--json", "--out", file], {
      env: { DEVMESH_URL: up.url, DEVMESH_TOKEN: up.token },
    });
    isOver = true;
    await load;
    caller.close();
    expect(err).to.equal("");
    expect(code).to.equal(0);
    const { tables } = JSON.parse(out) as { tables: { name: string; rows: number }[] };
    const rows = tables.find(({ name }) => name === "jobs")?.rows ?? 0;
    expect(rows).to.be.within(acknowledgedJobs, history.acknowledgements);
    return acknowledged;
  } finally {
    await up.stop("SIGKILL");
  }
}

function contentOf(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: "utf8" }).sort();
}
