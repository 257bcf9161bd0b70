/** Agents of other makers at work, told once and run in every sandbox that this host can make. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { expect } from "chai";
import { ensureGuest } from "../../deploy/guest/ensure-guest.ts";
import type { InstalledAgent } from "../../scripts/parts/agent-package.ts";
import { ensureBaseImage, startDocker } from "../../scripts/parts/docker.ts";
import type { Found } from "../../scripts/parts/part.ts";
import type { IsolationName } from "../../sdk/ts/src/node.ts";
import { log, need } from "../parts/need.ts";
import { tempFolder } from "../sdk/temp-folder.ts";
import { runProgram } from "./program.ts";
import { startUp, type Up, untilRunner } from "./up.ts";
import { until } from "./wait.ts";

/** The model that the scripts answer as. */
export const model = "scripted/replay";

/** The drivers, what each gives, and the longest run of an agent in it: emulation takes its time. */
const drivers = {
  process: { isolation: "process", limitMs: 240_000 },
  docker: { isolation: "container", limitMs: 240_000 },
  qemu: { isolation: "vm", limitMs: 900_000 },
} as const;

/** A line of the CLI's JSON. */
export type Line = Readonly<Record<string, unknown>> & { readonly type: string };

/** A call of a model as the ledger has it. */
export interface Call {
  readonly operation: string;
  readonly outcome: string;
}

/** What a finished job left. */
export interface Finished {
  readonly lines: readonly Line[];
  readonly result: Line;
  readonly agent: Readonly<Record<string, unknown>>;
  readonly calls: readonly Call[];
}

/** A platform with one kind of sandbox. */
export interface HarnessPlatform {
  readonly up: Up;
  readonly driver: keyof typeof drivers;
  /** What its jobs ask for. */
  readonly isolation: IsolationName;
  /** Kills the platform with all of its services, and starts it again on what it left. */
  restart(): Promise<void>;
  /** Runs `devmesh agent` on a folder, to which its changes are applied. */
  run(task: string, folder: string, args: readonly string[]): Promise<Finished>;
}

/** What the suite is told of an agent. */
export interface HarnessSuite {
  readonly name: string;
  /** Gets its programs. Absent: it has none. */
  readonly ensure?: (options: { log: typeof log }) => Promise<Found<InstalledAgent>>;
  /** Default: process sandboxes and containers. */
  readonly drivers?: readonly (keyof typeof drivers)[];
  /** The conversations of the scripted provider. */
  readonly conversations: readonly object[];
  readonly tests: (get: () => HarnessPlatform) => void;
}

/** Runs the tests in each kind of sandbox; what this host lacks is skipped with its reason. */
export function harnessSuite(suite: HarnessSuite): void {
  for (const driver of suite.drivers ?? (["process", "docker"] as const)) {
    describe(`${suite.name} in a ${driver} sandbox`, function () {
      this.timeout(drivers[driver].limitMs + 60_000);
      let platform: HarnessPlatform | undefined;
      const cleanup = new AsyncDisposableStack();

      before(async function () {
        this.timeout(900_000);
        const installed = suite.ensure && need(this, await suite.ensure({ log }));
        const parts = await partsOf(this, driver, cleanup);
        const dataDir = mkdtempSync(join(tmpdir(), "devmesh-harness-"));
        cleanup.defer(() => rmSync(dataDir, { recursive: true, force: true }));
        const script = join(dataDir, "script.json");
        const models = [{ name: "replay", roles: ["chat", "coding"], contextTokens: 200_000 }];
        writeFileSync(script, JSON.stringify({ models, conversations: suite.conversations }));
        const env = {
          SANDBOX_DRIVERS: driver,
          SCRIPTED_PATH: script,
          // Shorter than the default, so that a lost runner is noticed soon.
          LEASE_TTL_MS: "6000",
          ...(installed && { HARNESS_DIR: dirname(installed.folder) }),
          ...parts,
        };
        const started = await startPlatform(driver, dataDir, env);
        platform = started;
        cleanup.defer(async () => {
          await started.up.stop();
        });
      });
      after(() => cleanup.disposeAsync());

      suite.tests(() => {
        if (platform === undefined) throw new Error("the platform does not run");
        return platform;
      });
    });
  }
}

/** Variables that name what the driver needs. */
async function partsOf(
  context: Mocha.Context,
  driver: keyof typeof drivers,
  cleanup: AsyncDisposableStack,
): Promise<Record<string, string>> {
  if (driver === "process") return {};
  if (driver === "qemu") {
    if (process.env.DEVMESH_SLOW_TESTS !== "true") {
      log("skipped: an agent of this size takes many minutes in an emulated guest");
      log("(run it with DEVMESH_SLOW_TESTS=true)");
      return context.skip();
    }
    const { guestDir, binary } = need(context, await ensureGuest({ log }));
    return { VM_GUEST_DIR: guestDir, QEMU_BINARY: binary };
  }
  const engine = need(context, await startDocker({ log }));
  cleanup.defer(() => engine.stop());
  const { image } = need(context, await ensureBaseImage(engine.socketPath, { log }));
  return { DOCKER_HOST: `unix://${engine.socketPath}`, DOCKER_IMAGE: image };
}

async function startPlatform(
  driver: keyof typeof drivers,
  dataDir: string,
  env: Readonly<Record<string, string>>,
): Promise<HarnessPlatform> {
  const start = async () => {
    const started = await startUp({ dataDir, env });
    await untilRunner(started, drivers[driver].limitMs);
    return started;
  };
  let up = await start();
  const { isolation, limitMs } = drivers[driver];
  return {
    driver,
    isolation,
    get up() {
      return up;
    },
    async restart() {
      await up.stop("SIGKILL");
      up = await start();
    },
    async run(task, folder, args) {
      const env = { HOME: dataDir, DEVMESH_URL: up.url, DEVMESH_TOKEN: up.token };
      const own = ["--json", "--workspace", folder, "--apply", "--model", model];
      const timeout = `${limitMs / 1_000 - 20}s`;
      const options = [...own, "--isolation", isolation, "--timeout", timeout];
      const { code, out, err } = await runProgram({
        args: [
          "agent",
          ...options,
          ...args.slice(0, restAt(args)),
          task,
          ...args.slice(restAt(args)),
        ],
        env,
        limitMs,
      });
      const lines = out
        .split("\n")
        .filter((line) => line !== "")
        .map((line) => JSON.parse(line) as Line);
      const result = lines.find(({ type }) => type === "result");
      if (result === undefined) throw new Error(`no result, status ${code}: ${err}`);
      const jobId = String(lines.find(({ type }) => type === "job")?.jobId);
      const agent = (result.agent ?? {}) as Finished["agent"];
      const calls = await callsOf(join(dataDir, "inference.db"), jobId, result);
      return { lines, result, agent, calls };
    },
  };
}

/** Where the arguments begin that are the agent's own. */
function restAt(args: readonly string[]): number {
  const at = args.indexOf("--");
  return at === -1 ? args.length : at;
}

/** The job's calls out of the ledger, which is written a moment after them. */
function callsOf(path: string, jobId: string, result: Line): Promise<readonly Call[]> {
  return until(`the ledger has calls of ${jobId} (${JSON.stringify(result).slice(0, 300)})`, () => {
    const database = new DatabaseSync(path, { readOnly: true });
    try {
      const rows = database
        .prepare("SELECT operation, outcome FROM ledger WHERE job_id = ? ORDER BY at_ms")
        .all(jobId) as unknown as Call[];
      return rows.length > 0 && rows;
    } finally {
      database.close();
    }
  });
}

/** A project with one mistake and one test that finds it. */
export const brokenSum = {
  "sum.mjs": "export function sum(a, b) {\n  return a - b;\n}\n",
  "sum.test.mjs":
    'import assert from "node:assert";\nimport { test } from "node:test";\n' +
    'import { sum } from "./sum.mjs";\n\ntest("sums", () => assert.equal(sum(2, 3), 5));\n',
};

/** Lets an agent repair the project, and looks at all that this must leave. */
export async function repairsTheSum(
  platform: HarnessPlatform,
  harness: string,
  expected: { readonly steps: number; readonly calls: number },
): Promise<Finished> {
  using project = tempFolder(brokenSum);
  // Emulation is too slow for its own run of the tests: devmesh's run alone tells then.
  const isEmulated = platform.driver === "qemu";
  const task = `${isEmulated ? "Repair" : "Fix"} the sum with ${harness}.`;
  const finished = await platform.run(task, project.path, [
    ...["--with", harness, "--test", "node --test"],
  ]);
  const { result, agent, calls, lines } = finished;
  expect(result.outcome, JSON.stringify(lines.slice(-12))).to.equal("JOB_STATUS_SUCCEEDED");
  expect(result.driver).to.equal(platform.driver);
  expect(agent).to.include({
    ...{ summary: "The sum is fixed.", steps: expected.steps },
    ...{ testsBefore: "failed", testsAfter: "passed" },
  });
  expect(Number(agent.inputTokens)).to.be.greaterThan(1_000);
  const commands = agent.commands as { readonly command: string; readonly exitCode?: number }[];
  expect(commands.at(-1)?.command).to.contain(isEmulated ? "cat sum.mjs" : "node --test");
  expect(commands.at(-1)?.exitCode ?? 0).to.equal(0);
  expect(agent.patch).to.contain("+  return a + b;");
  const artifacts = result.artifacts as { readonly name: string }[];
  expect(artifacts.map(({ name }) => name).toSorted()).to.deep.equal(
    // What the agent keeps for itself is no part of the change.
    ["changes.patch", "changes.tar", "sum.mjs"],
  );
  expect(readFileSync(join(project.path, "sum.mjs"), "utf8")).to.contain("a + b");
  // Whatever it asked of a model, it asked in the job's name.
  expect(calls).to.have.length(expected.calls);
  expect(new Set(calls.map(({ operation }) => operation))).to.deep.equal(new Set(["chat"]));
  expect(new Set(calls.map(({ outcome }) => outcome))).to.deep.equal(new Set(["ok"]));
  const topics = lines.filter(({ type }) => type === "note").map(({ topic }) => topic);
  expect(topics).to.include.members(["agent.harness", "agent.call", "agent.turn", "agent.tests"]);
  return finished;
}
