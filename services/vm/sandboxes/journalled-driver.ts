/** A driver whose sandboxes are in the journal before they are made and before they are removed. */
import type { Readable } from "node:stream";
import { type Logger, silentLogger } from "@devmesh/mesh/log";
import type {
  DriverProbe,
  ExecSpec,
  Isolation,
  Sandbox,
  SandboxDriver,
  SandboxProcess,
  SandboxSpec,
  SandboxStats,
} from "../drivers/driver.ts";
import { sandboxFailed } from "../drivers/driver-errors.ts";
import type { SandboxReceipt } from "../drivers/receipt.ts";
import type { HostedSandbox } from "./host.ts";
import type { Journal, JournalState } from "./journal.ts";

/**
 * Keeps the port, and writes down what it means to do. Nothing is made that could not be
 * written down; what is there is removed also when the journal's disk is full.
 */
export class JournalledDriver implements SandboxDriver {
  readonly name: string;
  readonly isolation: Isolation;
  readonly #inner: SandboxDriver;
  readonly #journal: Journal;
  readonly #logger: Logger;
  readonly #sandboxes = new Map<string, JournalledSandbox>();

  constructor(inner: SandboxDriver, journal: Journal, logger: Logger = silentLogger()) {
    this.name = inner.name;
    this.isolation = inner.isolation;
    this.#inner = inner;
    this.#journal = journal;
    this.#logger = logger;
  }

  probe(signal?: AbortSignal): Promise<DriverProbe> {
    return this.#inner.probe(signal);
  }

  async create(spec: SandboxSpec, signal?: AbortSignal): Promise<Sandbox> {
    const record = (state: JournalState) => {
      const { id, jobId } = spec;
      return { kind: "sandbox", id, jobId, driver: this.name, state, atMs: Date.now() } as const;
    };
    const gone = () => this.#told(spec.id, this.#journal.done(record("gone")));
    let inner: Sandbox;
    try {
      await this.#journal.intend(record("making")).catch(unwritten(this.name));
      inner = await this.#inner.create(spec, signal);
    } catch (error: unknown) {
      // The port says that a start that fails leaves nothing; a sweep sees whether that is so.
      await gone();
      throw error;
    }
    const sandbox = new JournalledSandbox(inner, {
      removing: () => this.#told(spec.id, this.#journal.intend(record("removing"))),
      gone: async () => {
        this.#sandboxes.delete(spec.id);
        await gone();
      },
    });
    this.#sandboxes.set(spec.id, sandbox);
    try {
      await this.#journal.done(record("made")).catch(unwritten(this.name));
      return sandbox;
    } catch (error: unknown) {
      // Where this fails, it is listed as what shall go, and the next sweep tries again.
      await this.#told(spec.id, sandbox.delete());
      throw error;
    }
  }

  /** For steps that go on without the journal: the record that it has names the sandbox already. */
  async #told(sandbox: string, step: Promise<void>): Promise<void> {
    try {
      await step;
    } catch (err) {
      this.#logger.warn({ sandbox, err }, "a step of a sandbox's removal has failed");
    }
  }

  list(): HostedSandbox[] {
    return [...this.#sandboxes.values()];
  }

  reap(): Promise<string[]> {
    return this.#inner.reap();
  }

  async close(): Promise<void> {
    await this.#inner.close?.();
  }
}

function unwritten(driver: string): (cause: unknown) => never {
  return (cause) => {
    const detail = cause instanceof Error ? cause.message : String(cause);
    throw sandboxFailed(driver, `the journal of sandboxes cannot be written: ${detail}`, cause);
  };
}

interface Steps {
  removing(): Promise<void>;
  gone(): Promise<void>;
}

class JournalledSandbox implements HostedSandbox {
  readonly #inner: Sandbox;
  readonly #steps: Steps;
  #state: "running" | "frozen" | "removing" = "running";
  #isGone = false;

  constructor(inner: Sandbox, steps: Steps) {
    this.#inner = inner;
    this.#steps = steps;
  }

  get id(): string {
    return this.#inner.id;
  }

  get jobId(): string {
    return this.#inner.jobId;
  }

  get driver(): string {
    return this.#inner.driver;
  }

  get createdAtMs(): number {
    return this.#inner.createdAtMs;
  }

  get receipt(): SandboxReceipt {
    return this.#inner.receipt;
  }

  get state(): "running" | "frozen" | "removing" {
    return this.#state;
  }

  put(tar: Readable, signal?: AbortSignal): Promise<void> {
    return this.#inner.put(tar, signal);
  }

  exec(spec: ExecSpec, signal?: AbortSignal): Promise<SandboxProcess> {
    return this.#inner.exec(spec, signal);
  }

  get(signal?: AbortSignal): Promise<Readable> {
    return this.#inner.get(signal);
  }

  endPrograms(): Promise<void> {
    return this.#inner.endPrograms();
  }

  stats(): Promise<SandboxStats> {
    return this.#inner.stats();
  }

  async freeze(): Promise<void> {
    await this.#inner.freeze();
    if (this.#state === "running") this.#state = "frozen";
  }

  async resume(): Promise<void> {
    await this.#inner.resume();
    if (this.#state === "frozen") this.#state = "running";
  }

  async delete(): Promise<void> {
    this.#state = "removing";
    if (!this.#isGone) await this.#steps.removing();
    await this.#inner.delete();
    if (this.#isGone) return;
    this.#isGone = true;
    await this.#steps.gone();
  }

  async processes(): Promise<number> {
    return (await this.#inner.processes?.()) ?? (this.#isGone ? 0 : 1);
  }
}
