/** What the runner's tests share: a real backend in memory, a fake driver, and a way between that breaks. */
import { createHash } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { type Client, createClient, type Interceptor, type Transport } from "@connectrpc/connect";
import { AuditService } from "@devmesh/gen/devmesh/api/v1/audit_service_pb";
import { BlobService } from "@devmesh/gen/devmesh/api/v1/blob_service_pb";
import type { JobEvent } from "@devmesh/gen/devmesh/api/v1/job_event_pb";
import type { Job, JobSpecSchema } from "@devmesh/gen/devmesh/api/v1/job_pb";
import { JobService } from "@devmesh/gen/devmesh/api/v1/job_service_pb";
import { JobStatus } from "@devmesh/gen/devmesh/api/v1/job_status_pb";
import { DevmeshError, type Reason } from "@devmesh/mesh/errors";
import { silentLogger } from "@devmesh/mesh/log";
import { type Clock, SortableIds, SystemClock, TestClock } from "@devmesh/mesh/runtime";
import { createInProcessTransport, serviceClientInterceptors } from "@devmesh/mesh/transport";
import { type BuiltApi, buildApi } from "../../services/api/app.ts";
import { readApiConfig } from "../../services/api/config.ts";
import type { SandboxDriver } from "../../services/vm/drivers/driver.ts";
import type { EgressHostOptions } from "../../services/vm/egress/egress.ts";
import { backendOf } from "../../services/vm/runner/backend.ts";
import { Runner } from "../../services/vm/runner/runner.ts";
import { Host } from "../../services/vm/sandboxes/host.ts";
import { TestDriver } from "./test-driver.ts";

const serviceToken = "the-secret-of-the-services";

/** How one call goes wrong: it may make the call, or not, or twice. */
export type Fault = <T>(call: () => Promise<T>) => Promise<T>;

/** Fails before the call is made. */
export function failBefore(reason: Reason): Fault {
  return async () => {
    throw new DevmeshError(reason, "broken on purpose");
  };
}

/** Makes the call, and loses its answer. */
export function loseAnswer(reason: Reason): Fault {
  return async (call) => {
    await call();
    throw new DevmeshError(reason, "broken on purpose");
  };
}

/** Makes the call twice, as a proxy may. */
export const twice: Fault = async (call) => {
  await call();
  return call();
};

/** Breaks calls by the name of their method. */
export class Faults {
  readonly #once = new Map<string, Fault[]>();
  readonly #always = new Map<string, Fault>();
  readonly calls: string[] = [];

  /** Breaks the next calls of a method, one fault each. */
  next(method: string, ...faults: Fault[]): void {
    this.#once.set(method, [...(this.#once.get(method) ?? []), ...faults]);
  }

  /** Holds back the answer to the next call of a method: when it has been given, and its way on. */
  holdAnswer(method: string): { readonly given: Promise<void>; readonly letGo: () => void } {
    const given = Promise.withResolvers<void>();
    const go = Promise.withResolvers<void>();
    this.next(method, async (call) => {
      const answer = await call();
      given.resolve();
      await go.promise;
      return answer;
    });
    return { given: given.promise, letGo: () => go.resolve() };
  }

  /** Breaks all calls of a method (`*`: of any) until `heal`. */
  always(method: string, fault: Fault): void {
    this.#always.set(method, fault);
  }

  /** Ends what `always` began. */
  heal(): void {
    this.#always.clear();
  }

  readonly interceptor: Interceptor = (next) => (req) => {
    const { name } = req.method;
    this.calls.push(name);
    const once = this.#once.get(name)?.shift();
    const fault = once ?? this.#always.get(name) ?? this.#always.get("*");
    return fault === undefined ? next(req) : fault(() => next(req));
  };
}

/** A runner and what it is told apart by. */
export interface TestRunner {
  readonly runner: Runner;
  readonly driver: TestDriver;
  readonly faults: Faults;
}

/** A backend with runners. */
export class Bed {
  readonly clock: TestClock;
  readonly jobs: Client<typeof JobService>;
  readonly blobs: Client<typeof BlobService>;
  readonly audit: Client<typeof AuditService>;
  readonly #api: BuiltApi;
  readonly #folder: string;
  readonly #ids: SortableIds;
  readonly #runners: Omit<TestRunner, "driver">[] = [];

  private constructor(api: BuiltApi, folder: string, clock: TestClock) {
    this.#api = api;
    this.#folder = folder;
    this.clock = clock;
    this.#ids = new SortableIds(clock);
    const transport = this.#transport([]);
    this.jobs = createClient(JobService, transport);
    this.blobs = createClient(BlobService, transport);
    this.audit = createClient(AuditService, transport);
  }

  static async open(): Promise<Bed> {
    const folder = await mkdtemp(join(tmpdir(), "dm-vm-"));
    const clock = new TestClock();
    const away: Interceptor = () => async () => {
      throw new DevmeshError("UNAVAILABLE", "there is no such part here");
    };
    const none = createInProcessTransport({ methods: [], interceptors: [away] });
    const api = await buildApi({
      config: {
        ...readApiConfig({ STORAGE_URL: "memory:", DEVMESH_DATA_DIR: folder }),
        serviceToken,
      },
      logger: silentLogger(),
      clock,
      ids: new SortableIds(clock),
      version: "0.0.0",
      mcp: none,
      inference: none,
    });
    return new Bed(api, folder, clock);
  }

  /** Where its runners look for agents of other makers. */
  get harnessDir(): string {
    return this.#folder;
  }

  /** Starts a runner with a driver and a breakable way of its own. */
  start(
    options: { capacity?: number; driver?: TestDriver; egress?: EgressHostOptions } = {},
  ): TestRunner {
    const { capacity = 4, driver = new TestDriver(), egress } = options;
    return { ...this.#start(capacity, driver, this.clock, 5_000, egress), driver };
  }

  /** Starts a runner with a real driver, on the machine's own clock. */
  startReal(
    driver: SandboxDriver,
    graceMs: number,
    egress?: EgressHostOptions,
  ): Omit<TestRunner, "driver"> {
    return this.#start(4, driver, new SystemClock(), graceMs, egress);
  }

  #start(
    capacity: number,
    driver: SandboxDriver,
    clock: Clock,
    graceMs: number,
    egress: EgressHostOptions | undefined,
  ) {
    const faults = new Faults();
    const logger = silentLogger();
    const runner = new Runner({
      backend: backendOf(this.#transport([faults.interceptor])),
      host: new Host({ drivers: [driver], logger }),
      clock,
      ids: this.#ids,
      logger,
      version: "0.0.0",
      capacity,
      stateDir: join(this.#folder, "vm"),
      backendUrl: "http://127.0.0.1:1",
      nodePath: process.execPath,
      agentPath: "/coder.mjs",
      harnessDir: this.harnessDir,
      graceMs,
      ...(egress !== undefined && { egress }),
      monotonicMs: () => clock.now(),
    });
    const started = { runner, faults };
    this.#runners.push(started);
    runner.start();
    return started;
  }

  /** Accepts a command; answers its id. */
  async command(...argv: string[]): Promise<string> {
    return this.submit({ work: { case: "command", value: { argv } } });
  }

  async submit(spec: MessageInitShape<typeof JobSpecSchema>): Promise<string> {
    return (await this.jobs.createJob({ spec })).jobId;
  }

  /** Stores a blob; answers its name. */
  async putBlob(data: Buffer): Promise<string> {
    const sha256 = createHash("sha256").update(data).digest("hex");
    const pieces = async function* () {
      yield { sha256, data };
    };
    await this.blobs.putBlob(pieces());
    return sha256;
  }

  async job(id: string): Promise<Job> {
    const { job } = await this.jobs.getJob({ id });
    if (job === undefined) throw new Error("an answer without its job");
    return job;
  }

  /** The job once it has ended. Time goes on meanwhile if asked to. */
  async ended(id: string, options: { timePasses?: boolean } = {}): Promise<Job> {
    await this.until(async () => isFinal((await this.job(id)).status), options);
    return this.job(id);
  }

  /** The job's events, checked to be numbered without a gap. */
  async events(id: string): Promise<JobEvent[]> {
    const { events } = await this.jobs.listJobEvents({ id, pageSize: 1000 });
    events.forEach(({ seq }, i) => {
      if (seq !== i + 1) throw new Error(`event ${i + 1} has the number ${seq}`);
    });
    return events;
  }

  /** The log's bytes of all attempts as text. */
  async log(id: string): Promise<string> {
    const events = await this.events(id);
    const logs = events.flatMap(({ kind }) => (kind.case === "log" ? [kind.value.data] : []));
    return Buffer.concat(logs).toString();
  }

  /** Gives everything else its turn until it holds; with `timePasses` 10 ms go by each turn. */
  async until(
    holds: () => Promise<boolean> | boolean,
    { timePasses = false }: { timePasses?: boolean } = {},
  ): Promise<void> {
    while (!(await holds())) {
      await new Promise((resolve) => setImmediate(resolve));
      if (timePasses) this.clock.advance(10);
    }
  }

  /** Stops every runner, and the backend. */
  async close(): Promise<void> {
    for (const { faults } of this.#runners) faults.heal();
    const closed = Promise.all(this.#runners.map(({ runner }) => runner.close()));
    let done = false;
    void closed.then(() => {
      done = true;
    });
    await this.until(() => done, { timePasses: true });
    await closed;
    await this.#api.app.close();
    await rm(this.#folder, { recursive: true, force: true });
  }

  #transport(faults: Interceptor[]): Transport {
    const interceptors = [
      ...serviceClientInterceptors({ serviceToken, clock: this.clock }),
      ...faults,
    ];
    return createInProcessTransport({ methods: this.#api.methods, interceptors });
  }
}

/** Waits for a heartbeat that was sent from now on, and its answer. */
export async function untilHeard(bed: Bed, calls: readonly string[]): Promise<void> {
  const beats = () => calls.filter((name) => name === "Heartbeat").length;
  const now = beats();
  // The second one is sent after the first was answered.
  await bed.until(() => beats() >= now + 2, { timePasses: true });
}

function isFinal(status: JobStatus): boolean {
  return [JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED].includes(status);
}
