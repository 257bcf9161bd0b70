/** What this host can do: every driver's probe, and the driver for a job. */
import { DevmeshError, notFound } from "@devmesh/mesh/errors";
import type { Logger } from "@devmesh/mesh/log";
import type { Clock } from "@devmesh/mesh/runtime";
import {
  type DriverProbe,
  type Isolation,
  isolations,
  type Sandbox,
  type SandboxDriver,
} from "../drivers/driver.ts";
import { within } from "../drivers/within.ts";

/** What the host is made of. */
export interface HostOptions {
  /** Weakest isolation first. */
  readonly drivers: readonly SandboxDriver[];
  readonly logger: Logger;
}

/** A sandbox of this host. */
export interface HostedSandbox extends Sandbox {
  /** Absent: it runs. `removing`: its removal was asked for, and may have failed. */
  readonly state?: "running" | "frozen" | "removing";
}

/** A row of the probe table; `pending` while the driver is still being tried. */
export interface HostRow extends DriverProbe {
  readonly pending: boolean;
}

/** The longest time between two tries of a driver that is not available, in milliseconds. */
const maxRetryMs = 600_000;

/** The longest that a stop waits for drivers that are being tried, in milliseconds. */
const closeLimitMs = 10_000;

/** The drivers of this host and what they can do. */
export class Host {
  readonly #drivers: readonly SandboxDriver[];
  readonly #logger: Logger;
  readonly #rows = new Map<SandboxDriver, DriverProbe>();
  readonly #closing = new AbortController();
  #probing: Map<SandboxDriver, Promise<DriverProbe>> | undefined;

  constructor({ drivers, logger }: HostOptions) {
    this.#drivers = drivers;
    this.#logger = logger;
  }

  /** One row for each driver, once all are known; tried anew when asked. */
  async probe(refresh = false): Promise<readonly DriverProbe[]> {
    return Promise.all(this.#probes(refresh).values());
  }

  /**
   * Tries drivers that are not available again from time to time, until `close`: an engine comes
   * back, a busy host gets quiet. First after `retryMs`, then less and less often; 0: never.
   */
  start(clock: Clock, retryMs: number): void {
    if (retryMs === 0) return;
    const { signal } = this.#closing;
    const forever = async () => {
      for (let waitMs = retryMs; ; waitMs = Math.min(waitMs * 2, Math.max(maxRetryMs, retryMs))) {
        await clock.sleep(waitMs, signal);
        if (await this.#tryAgain()) waitMs = retryMs / 2;
      }
    };
    forever().catch(() => {
      // The stop's signal ended the sleep.
    });
  }

  /** What is known now; never waits. */
  table(): HostRow[] {
    this.#probes();
    return this.#drivers.map((driver) => {
      const { name, isolation } = driver;
      const known = this.#rows.get(driver);
      if (known !== undefined) return { ...known, pending: false };
      const reason = "is still being tried";
      const row = { driver: name, isolation, available: false, engine: "", reason };
      return { ...row, remedy: "wait some seconds", pending: true };
    });
  }

  /** Resolves with the first driver that works, or when none does. */
  async ready(): Promise<void> {
    const probes = [...this.#probes().values()];
    const working = probes.map(async (probe) => {
      if (!(await probe).available) throw new Error("not available");
    });
    // With no driver at all, the table says why.
    await Promise.any(working).catch(() => {});
  }

  /**
   * The weakest driver that gives the isolation or a stronger one. Throws
   * ISOLATION_UNAVAILABLE with what is missing: never less than was asked for.
   */
  async driverFor(isolation: Isolation): Promise<SandboxDriver> {
    const fit = this.#drivers
      .filter((driver) => rank(driver.isolation) >= rank(isolation))
      .sort((a, b) => rank(a.isolation) - rank(b.isolation));
    for (const driver of fit) {
      if ((await this.#probes().get(driver))?.available === true) return driver;
    }
    const missing = (await this.probe()).filter((p) => rank(p.isolation) >= rank(isolation));
    const why = missing.map((p) => `${p.driver}: ${p.reason}`).join("; ");
    throw new DevmeshError(
      "ISOLATION_UNAVAILABLE",
      `this host cannot give ${isolation}: ${why || "no driver for it"}`,
      { metadata: { isolation, remedy: missing.map((p) => p.remedy).join("; ") } },
    );
  }

  /** The sandboxes that exist now, oldest first. */
  sandboxes(): HostedSandbox[] {
    return this.#drivers
      .flatMap((driver) => driver.list())
      .sort((a, b) => a.createdAtMs - b.createdAtMs);
  }

  /** One of them. Throws NOT_FOUND. */
  sandbox(id: string): HostedSandbox {
    const found = this.sandboxes().find((candidate) => candidate.id === id);
    if (found === undefined) throw notFound("sandbox", id);
    return found;
  }

  /** Removes what earlier processes left behind; answers the sandboxes' ids. */
  async reap(): Promise<string[]> {
    return (await Promise.all(this.#drivers.map((driver) => this.#reapOne(driver)))).flat();
  }

  /** Tries again to remove sandboxes whose removal has failed; answers the ids of those that are gone. */
  async removeAgain(): Promise<string[]> {
    const stuck = this.sandboxes().filter(({ state }) => state === "removing");
    const gone = stuck.map(async (sandbox) => ((await this.#remove(sandbox)) ? [sandbox.id] : []));
    return (await Promise.all(gone)).flat();
  }

  /** Removes every sandbox, and what drivers keep ready for more or are trying out. */
  async close(): Promise<void> {
    this.#closing.abort();
    const probes = this.#probing?.values() ?? [];
    await within(closeLimitMs, Promise.all(probes)).catch((err: unknown) => {
      this.#logger.error({ err }, "a driver is still being tried");
    });
    await Promise.all(this.sandboxes().map((sandbox) => this.#remove(sandbox)));
    for (const driver of this.#drivers) {
      await driver.close?.().catch((err: unknown) => {
        this.#logger.error({ driver: driver.name, err }, "a driver could not be closed");
      });
    }
  }

  async #remove(sandbox: Sandbox): Promise<boolean> {
    try {
      await sandbox.delete();
      return true;
    } catch (err) {
      // The next sweep tries again, and the next start reaps it.
      this.#logger.error({ sandbox: sandbox.id, err }, "a sandbox could not be removed");
      return false;
    }
  }

  async #reapOne(driver: SandboxDriver): Promise<string[]> {
    try {
      const ids = await driver.reap();
      if (ids.length > 0) this.#logger.warn({ driver: driver.name, ids }, "leftovers removed");
      return ids;
    } catch (err) {
      // A driver that cannot look cannot run anything either; its probe says why.
      this.#logger.debug({ driver: driver.name, err }, "leftovers could not be looked for");
      return [];
    }
  }

  /** True if one has become available. */
  async #tryAgain(): Promise<boolean> {
    const probes = this.#probes();
    const failed = this.#drivers.filter((driver) => this.#rows.get(driver)?.available === false);
    const tried = failed.map((driver) => this.#try(driver, probes));
    return (await Promise.all(tried)).some(({ available }) => available);
  }

  #probes(refresh = false): Map<SandboxDriver, Promise<DriverProbe>> {
    if (this.#probing === undefined || refresh) {
      this.#probing = new Map();
      for (const driver of this.#drivers) void this.#try(driver, this.#probing);
    }
    return this.#probing;
  }

  #try(
    driver: SandboxDriver,
    probes: Map<SandboxDriver, Promise<DriverProbe>>,
  ): Promise<DriverProbe> {
    const probe = probeOf(driver, this.#closing.signal);
    probes.set(driver, probe);
    void probe.then((row) => {
      // An older try that ends later tells nothing new.
      if (this.#probing?.get(driver) === probe) this.#rows.set(driver, row);
    });
    return probe;
  }
}

/** The port says that a probe never throws; a driver that does is not available either. */
async function probeOf(driver: SandboxDriver, signal: AbortSignal): Promise<DriverProbe> {
  try {
    return await driver.probe(signal);
  } catch (error) {
    const { name, isolation } = driver;
    const reason = `its probe failed: ${error instanceof Error ? error.message : String(error)}`;
    const remedy = "look at what it says, and try again";
    return { driver: name, isolation, available: false, engine: "", reason, remedy };
  }
}

function rank(isolation: Isolation): number {
  return isolations.indexOf(isolation);
}
