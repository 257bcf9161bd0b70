/** The process sandboxes of this host's system. What they are made of is left to the engines. */
import type { DriverProbe, Sandbox, SandboxDriver, SandboxSpec } from "../driver.ts";
import { BwrapDriver } from "./bwrap-driver.ts";
import { SeatbeltDriver } from "./seatbelt-driver.ts";

/** What a process driver is made of. */
export interface ProcessDriverOptions {
  /** Where its sandboxes' folders lie. Made if it is not there. */
  readonly stateDir: string;
  /** Default: `bwrap`, looked up on the PATH. */
  readonly bwrap?: string;
  /** How many disks of a size are kept ready once one was asked for; `close` lets them go. Default: 0. */
  readonly readyDisks?: number;
  /** True if a system that cannot bound processors may be used all the same. Default: false. */
  readonly acceptUnboundedCpu?: boolean;
}

/** Makes sandboxes of processes: bubblewrap on Linux, Seatbelt on macOS. */
export class ProcessDriver implements SandboxDriver {
  readonly name = "process";
  readonly isolation = "process";
  readonly #engine: SandboxDriver;

  constructor(options: ProcessDriverOptions) {
    const { stateDir, acceptUnboundedCpu = false } = options;
    this.#engine =
      process.platform === "darwin"
        ? new SeatbeltDriver({ stateDir, acceptUnboundedCpu })
        : new BwrapDriver(options);
  }

  probe(signal?: AbortSignal): Promise<DriverProbe> {
    return this.#engine.probe(signal);
  }

  create(spec: SandboxSpec, signal?: AbortSignal): Promise<Sandbox> {
    return this.#engine.create(spec, signal);
  }

  list(): Sandbox[] {
    return this.#engine.list();
  }

  reap(): Promise<string[]> {
    return this.#engine.reap();
  }

  async close(): Promise<void> {
    await this.#engine.close?.();
  }
}
