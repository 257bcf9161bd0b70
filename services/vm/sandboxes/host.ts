/** What this host can do: every driver's probe, and the driver for a job. */
import { DevmeshError } from "@devmesh/mesh/errors";
import type { Logger } from "@devmesh/mesh/log";
import {
  type DriverProbe,
  type Isolation,
  isolations,
  type Sandbox,
  type SandboxDriver,
} from "../drivers/driver.ts";

/** What the host is made of. */
export interface HostOptions {
  /** Weakest isolation first. */
  readonly drivers: readonly SandboxDriver[];
  readonly logger: Logger;
}

/** A row of the probe table; `pending` while the driver is still being tried. */
export interface HostRow extends DriverProbe {
  readonly pending: boolean;
}

/** The drivers of this host and what they can do. */
export class Host {
  readonly #drivers: readonly SandboxDriver[];
  readonly #logger: Logger;
  readonly #rows = new Map<SandboxDriver, DriverProbe>();
  #probing: Map<SandboxDriver, Promise<DriverProbe>> | undefined;

  constructor({ drivers, logger }: HostOptions) {
    this.#drivers = drivers;
    this.#logger = logger;
  }

  /** One row for each driver, once all are known; tried anew when asked. */
  async probe(refresh = false): Promise<readonly DriverProbe[]> {
    return Promise.all(this.#probes(refresh).values());
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
  sandboxes(): Sandbox[] {
    return this.#drivers
      .flatMap((driver) => driver.list())
      .sort((a, b) => a.createdAtMs - b.createdAtMs);
  }

  /** Removes what earlier processes left behind. */
  async reap(): Promise<void> {
    await Promise.all(this.#drivers.map((driver) => this.#reapOne(driver)));
  }

  /** Removes every sandbox, and what drivers keep ready. */
  async close(): Promise<void> {
    const gone = this.sandboxes().map(async (sandbox) => {
      try {
        await sandbox.delete();
      } catch (err) {
        // The next start reaps it.
        this.#logger.error({ sandbox: sandbox.id, err }, "a sandbox could not be removed");
      }
    });
    await Promise.all(gone);
    await Promise.all(this.#drivers.map((driver) => driver.close?.()));
  }

  async #reapOne(driver: SandboxDriver): Promise<void> {
    try {
      const ids = await driver.reap();
      if (ids.length > 0) this.#logger.warn({ driver: driver.name, ids }, "leftovers removed");
    } catch (err) {
      // A driver that cannot look cannot run anything either; its probe says why.
      this.#logger.debug({ driver: driver.name, err }, "leftovers could not be looked for");
    }
  }

  #probes(refresh = false): Map<SandboxDriver, Promise<DriverProbe>> {
    if (this.#probing === undefined || refresh) {
      const probes = new Map(this.#drivers.map((driver) => [driver, probeOf(driver)]));
      this.#probing = probes;
      for (const [driver, probe] of probes) {
        void probe.then((row) => {
          // An older try that ends later tells nothing new.
          if (this.#probing === probes) this.#rows.set(driver, row);
        });
      }
    }
    return this.#probing;
  }
}

/** The port says that a probe never throws; a driver that does is not available either. */
async function probeOf(driver: SandboxDriver): Promise<DriverProbe> {
  try {
    return await driver.probe();
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
