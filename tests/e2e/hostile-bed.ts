/** What the tests of hostile jobs share: a platform with one kind of sandbox, and what is left of it. */
import { existsSync, mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import type {
  IsolationName,
  JobEvent,
  JobInput,
  JobResult,
  NodeDevmesh,
} from "../../sdk/ts/src/node.ts";
import { tempFolder } from "../sdk/temp-folder.ts";
import { runProgram } from "./program.ts";
import type { SandboxPlace } from "./sandbox-places.ts";
import { startUp, type Up } from "./up.ts";
import { until } from "./wait.ts";

/** How a job ended, and all that it told. */
export interface EndedJob {
  readonly result: JobResult;
  readonly events: readonly JobEvent[];
  /** What it wrote, both streams as they came. */
  readonly log: Buffer;
}

/** A platform that runs hostile jobs. */
export class HostileBed {
  readonly dataDir: string;
  readonly isolation: IsolationName;
  readonly #start: () => Promise<Up>;
  readonly #cleanup: AsyncDisposableStack;
  #up: Up;

  private constructor(
    start: () => Promise<Up>,
    up: Up,
    dataDir: string,
    isolation: IsolationName,
    cleanup: AsyncDisposableStack,
  ) {
    this.#start = start;
    this.#up = up;
    this.dataDir = dataDir;
    this.isolation = isolation;
    this.#cleanup = cleanup;
  }

  /**
   * Starts it; skips the tests with the reason where the place cannot be had. `furnish` is
   * called with the data folder before.
   */
  static async open(
    context: Mocha.Context,
    { driver, isolation, prepare }: SandboxPlace,
    env: Readonly<Record<string, string>> = {},
    furnish: (dataDir: string, cleanup: AsyncDisposableStack) => void = () => {},
  ): Promise<HostileBed> {
    await using cleanup = new AsyncDisposableStack();
    const place = await prepare(context, cleanup);
    const folder = tempFolder();
    cleanup.defer(() => folder[Symbol.dispose]());
    const dataDir = join(folder.path, "data");
    mkdirSync(dataDir, { mode: 0o755 });
    // Nothing is made ahead: what is there when no job runs has been left.
    const own = { SANDBOX_DRIVERS: driver, SANDBOX_WARM: "0", STOP_GRACE_MS: "1000" };
    furnish(dataDir, cleanup);
    const start = () => startUp({ dataDir, env: { ...own, ...place, ...env } });
    const bed = new HostileBed(start, await start(), dataDir, isolation, cleanup.move());
    bed.#cleanup.defer(async () => {
      await bed.#up.stop();
    });
    await until(`${driver} is tried`, () => bed.capability(driver), 240_000);
    return bed;
  }

  /** What the runner says of a driver, once it has tried it. */
  async capability(driver: string) {
    const agents = await this.up.devmesh.agents.list();
    const rows = agents.flatMap(({ capabilities }) => capabilities);
    return rows.find((row) => row.driver === driver && !row.reason.includes("being tried"));
  }

  get up(): Up {
    return this.#up;
  }

  get devmesh(): NodeDevmesh {
    return this.#up.devmesh;
  }

  /** Stops the platform, and starts it again on what `meanwhile` has made of its folder. */
  async restart(driver: string, meanwhile: () => void): Promise<void> {
    await this.#up.stop();
    meanwhile();
    this.#up = await this.#start();
    await until(`${driver} is tried`, () => this.capability(driver), 240_000);
  }

  /** Runs a job to its end, with one attempt. */
  async run(input: JobInput): Promise<EndedJob> {
    const wanted = { isolation: this.isolation, maxAttempts: 1, ...input };
    const { jobId } = await this.devmesh.jobs.create(wanted);
    const events: JobEvent[] = [];
    for await (const event of this.devmesh.jobs.watch(jobId)) events.push(event);
    const last = events.at(-1)?.kind;
    if (last?.case !== "result") throw new Error(`job ${jobId} has no result`);
    const pieces = events.flatMap(({ kind }) => (kind.case === "log" ? [kind.value.data] : []));
    const result = last.value;
    return { result, events, log: Buffer.concat(pieces) };
  }

  /** Runs a shell's program. */
  shell(script: string, limits: JobInput["limits"], more: Partial<JobInput> = {}) {
    const command = ["sh", "-c", script];
    return this.run({ command, ...(limits && { limits }), ...more } as JobInput);
  }

  /** `devmesh …` as its owner calls it. */
  cli(...args: string[]) {
    const env = { HOME: this.dataDir, DEVMESH_URL: this.up.url, DEVMESH_DATA_DIR: this.dataDir };
    return runProgram({ args, env, limitMs: 240_000 });
  }

  /** Throws unless nothing of any sandbox or attempt is left on the host. */
  async expectNothingLeft(): Promise<void> {
    const vm = join(this.dataDir, "vm");
    const names = (folder: string) =>
      existsSync(join(vm, folder)) ? readdirSync(join(vm, folder)) : [];
    // An attempt's folder goes a moment after its result is told.
    await until("the attempts' folders are gone", () => names("runs").length === 0, 20_000);
    const left = ["process", "docker", "gvisor", "vms"].flatMap((folder) =>
      names(folder).filter((name) => name.startsWith("sbx_")),
    );
    expect(left).to.deep.equal([]);
    const host = ["--json", "--host", `http://127.0.0.1:${this.up.ports.vm}`];
    const swept = await this.cli("sandboxes", "sweep", "--dry-run", ...host);
    expect(swept.code, swept.err).to.equal(0);
    expect(JSON.parse(swept.out)).to.deep.include({ leftovers: [] });
  }

  async close(): Promise<void> {
    await this.#cleanup.disposeAsync();
  }
}
