/** The fake driver with programs for tests, and hooks before each of its steps. */
import { basename } from "node:path";
import type { Readable } from "node:stream";
import type {
  DriverProbe,
  ExecSpec,
  ExitState,
  Isolation,
  Sandbox,
  SandboxDriver,
  SandboxProcess,
  SandboxSpec,
  SandboxStats,
} from "../../services/vm/drivers/driver.ts";
import { FakeDriver, type FakeProgram } from "../../services/vm/drivers/fake.ts";
import type { SandboxReceipt } from "../../services/vm/drivers/receipt.ts";

/** The steps of an attempt that a test can hold up or break. */
export type Step = "create" | "put" | "exec" | "get" | "delete";

/** Runs until it is killed, or ends by the first signal. */
const sleep: FakeProgram = ({ killed }) =>
  new Promise((resolve) => {
    killed.addEventListener("abort", () => resolve(137), { once: true });
  });

const programs: Record<string, FakeProgram> = {
  echo: async ({ argv, write }) => {
    await write("stdout", `${argv.slice(1).join(" ")}\n`);
    return 0;
  },
  exit: async ({ argv }) => Number(argv[1]),
  hog: async (context) => {
    context.allocate(1_000_000);
    return sleep(context);
  },
  sleep,
  stubborn: (context) => {
    context.onSignal(() => {});
    return sleep(context);
  },
  edit: async ({ files }) => {
    files.write("/work/new.txt", Buffer.from("new\n"));
    return 0;
  },
  /** Writes lines for ever. */
  chatter: async ({ write, killed }) => {
    for (let i = 0; !killed.aborted; i++) {
      await write("stdout", `line ${i}\n`);
      await new Promise((resolve) => setImmediate(resolve));
    }
    return 0;
  },
};

/** Sandboxes for tests. */
export class TestDriver implements SandboxDriver {
  readonly name = "test";
  readonly isolation: Isolation;
  /** Programs of this driver alone, by name. */
  readonly programs: Record<string, FakeProgram>;
  /** What it was asked for. */
  readonly created: SandboxSpec[] = [];
  readonly #inner: FakeDriver;
  readonly #hooks = new Map<Step, (sandbox: SandboxSpec) => Promise<void>>();
  probed: Promise<DriverProbe> | undefined;
  /** Processes that every sandbox says are left, on top of those of its programs. */
  left = 0;
  /** Caps that a program meets while it runs, by its name. */
  readonly met: Record<string, ExitState["met"]> = {};
  /** Programs whose end it never tells, by name. */
  readonly mute = new Set<string>();
  /** What the kernel enforces instead of what it was told. */
  receipt: Partial<SandboxReceipt> = {};
  /** What every sandbox says it used. */
  used: Partial<SandboxStats> = {};

  constructor(more: Record<string, FakeProgram> = {}, isolation: Isolation = "process") {
    this.isolation = isolation;
    this.programs = { ...programs, ...more };
    this.#inner = new FakeDriver({ programs: this.programs });
  }

  /** Does something before a step; what it throws, the step throws. */
  on(step: Step, hook: (sandbox: SandboxSpec) => Promise<void>): void {
    this.#hooks.set(step, hook);
  }

  /** Holds a step up. `reached` resolves when one is there, `release` lets it go on. */
  hold(step: Step): { readonly reached: Promise<void>; release(): void } {
    const reached = Promise.withResolvers<void>();
    const released = Promise.withResolvers<void>();
    this.on(step, () => {
      reached.resolve();
      return released.promise;
    });
    return { reached: reached.promise, release: () => released.resolve() };
  }

  async probe(): Promise<DriverProbe> {
    const { name, isolation } = this;
    return (
      (await this.probed) ?? {
        ...{ driver: name, isolation, available: true },
        ...{ engine: "in memory", reason: "", remedy: "" },
      }
    );
  }

  async create(spec: SandboxSpec, signal?: AbortSignal): Promise<Sandbox> {
    this.created.push(spec);
    await this.#hooks.get("create")?.(spec);
    const inner = await this.#inner.create(spec, signal);
    const before = (step: Step) => this.#hooks.get(step)?.(spec) ?? Promise.resolve();
    return new TestSandbox(inner, before, this);
  }

  list(): Sandbox[] {
    return this.#inner.list();
  }

  async reap(): Promise<string[]> {
    return [];
  }
}

class TestSandbox implements Sandbox {
  readonly driver = "test";
  readonly #inner: Sandbox;
  readonly #before: (step: Step) => Promise<void>;
  readonly #of: TestDriver;

  constructor(inner: Sandbox, before: (step: Step) => Promise<void>, of: TestDriver) {
    this.#inner = inner;
    this.#before = before;
    this.#of = of;
  }

  get id(): string {
    return this.#inner.id;
  }

  get jobId(): string {
    return this.#inner.jobId;
  }

  get createdAtMs(): number {
    return this.#inner.createdAtMs;
  }

  async put(tar: Readable, signal?: AbortSignal): Promise<void> {
    await this.#before("put");
    return this.#inner.put(tar, signal);
  }

  async exec(spec: ExecSpec, signal?: AbortSignal): Promise<SandboxProcess> {
    await this.#before("exec");
    // The agent's Node is mounted where a fake has no folder.
    const [program = "", ...rest] = spec.argv;
    const argv = program.startsWith("/opt/devmesh/") ? [basename(program), ...rest] : spec.argv;
    const process = await this.#inner.exec({ ...spec, argv }, signal);
    const name = argv[0] ?? "";
    const met = this.#of.met[name];
    const isMute = this.#of.mute.has(name);
    if (met === undefined && !isMute) return process;
    return {
      output: () => process.output(),
      signal: (signal) => process.signal(signal),
      exit: isMute
        ? new Promise(() => {})
        : process.exit.then((exit) => ({ ...exit, ...(met && { met }) })),
    };
  }

  async get(signal?: AbortSignal): Promise<Readable> {
    await this.#before("get");
    return this.#inner.get(signal);
  }

  async delete(): Promise<void> {
    await this.#before("delete");
    return this.#inner.delete();
  }

  get receipt(): SandboxReceipt {
    return { ...this.#inner.receipt, ...this.#of.receipt };
  }

  async stats(): Promise<SandboxStats> {
    return { ...(await this.#inner.stats()), ...this.#of.used };
  }

  freeze(): Promise<void> {
    return this.#inner.freeze();
  }

  resume(): Promise<void> {
    return this.#inner.resume();
  }

  async processes(): Promise<number> {
    return this.#of.left + ((await this.#inner.processes?.()) ?? 0);
  }
}
