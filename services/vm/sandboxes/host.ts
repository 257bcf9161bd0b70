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

/** The drivers of this host and what they can do. */
export class Host {
  readonly #drivers: readonly SandboxDriver[];
  readonly #logger: Logger;
  #probes: Promise<readonly DriverProbe[]> | undefined;

  constructor({ drivers, logger }: HostOptions) {
    this.#drivers = drivers;
    this.#logger = logger;
  }

  /** One row for each driver; probed once, and again when asked. */
  probe(refresh = false): Promise<readonly DriverProbe[]> {
    if (refresh || this.#probes === undefined) {
      this.#probes = Promise.all(this.#drivers.map((driver) => driver.probe()));
    }
    return this.#probes;
  }

  /**
   * The weakest driver that gives the isolation or a stronger one. Throws
   * ISOLATION_UNAVAILABLE with what is missing: never less than was asked for.
   */
  async driverFor(isolation: Isolation): Promise<SandboxDriver> {
    const rank = (name: Isolation) => isolations.indexOf(name);
    const probes = await this.probe();
    const fit = this.#drivers.filter((driver) => rank(driver.isolation) >= rank(isolation));
    const chosen = fit
      .filter((driver) => probes.find((p) => p.driver === driver.name)?.available === true)
      .sort((a, b) => rank(a.isolation) - rank(b.isolation))[0];
    if (chosen !== undefined) return chosen;
    const missing = probes.filter((p) => rank(p.isolation) >= rank(isolation));
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
    for (const driver of this.#drivers) {
      try {
        const ids = await driver.reap();
        if (ids.length > 0) this.#logger.warn({ driver: driver.name, ids }, "leftovers removed");
      } catch (err) {
        // A driver that cannot look cannot run anything either; its probe says why.
        this.#logger.debug({ driver: driver.name, err }, "leftovers could not be looked for");
      }
    }
  }

  /** Removes every sandbox. */
  async close(): Promise<void> {
    await Promise.allSettled(this.sandboxes().map((sandbox) => sandbox.delete()));
  }
}
