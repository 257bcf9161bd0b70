/** The host picks the weakest driver that is strong enough, and never a weaker one. */
import { DevmeshError } from "@devmesh/mesh/errors";
import { silentLogger } from "@devmesh/mesh/log";
import { TestClock } from "@devmesh/mesh/runtime";
import { expect } from "chai";
import fc from "fast-check";
import { type DriverProbe, isolations } from "../../services/vm/drivers/driver.ts";
import { Host } from "../../services/vm/sandboxes/host.ts";
import { settled } from "../settled.ts";
import { TestDriver } from "./test-driver.ts";

const logger = silentLogger();

function driver(isolation: (typeof isolations)[number], available = true): TestDriver {
  const made = new TestDriver({}, isolation);
  made.probed = Promise.resolve(probe(made, available));
  return made;
}

function probe({ name, isolation }: TestDriver, available: boolean): DriverProbe {
  const why = available ? "" : `no ${isolation} here`;
  return { driver: name, isolation, available, engine: "", reason: why, remedy: why };
}

describe("host", () => {
  it("gives the asked isolation or a stronger one, the weakest of these, or refuses", async () => {
    const spec = fc.record({ isolation: fc.constantFrom(...isolations), available: fc.boolean() });
    const asked = fc.constantFrom(...isolations);
    await fc.assert(
      fc.asyncProperty(fc.array(spec, { maxLength: 5 }), asked, async (specs, wanted) => {
        const drivers = specs.map(({ isolation, available }) => driver(isolation, available));
        const rank = (isolation: (typeof isolations)[number]) => isolations.indexOf(isolation);
        const fit = specs
          .filter(({ isolation, available }) => available && rank(isolation) >= rank(wanted))
          .map(({ isolation }) => rank(isolation));
        const host = new Host({ drivers, logger });
        try {
          const chosen = await host.driverFor(wanted);
          expect(rank(chosen.isolation)).to.equal(Math.min(...fit));
        } catch (error) {
          if (!(error instanceof DevmeshError)) throw error;
          expect([error.reason, fit]).to.deep.equal(["ISOLATION_UNAVAILABLE", []]);
        }
      }),
    );
  });

  it("says what is missing when it refuses", async () => {
    const host = new Host({ drivers: [driver("process"), driver("vm", false)], logger });
    const error = await host.driverFor("container").catch((thrown: unknown) => thrown);
    expect(error).to.be.instanceOf(DevmeshError);
    expect(String(error)).to.contain("no vm here").and.not.contain("process");
  });

  it("shows a driver as pending until its probe has answered", async () => {
    const slow = driver("vm");
    const answer = Promise.withResolvers<DriverProbe>();
    slow.probed = answer.promise;
    const host = new Host({ drivers: [driver("process"), slow], logger });
    expect(host.table().map(({ pending }) => pending)).to.deep.equal([true, true]);
    await host.ready();
    await settled();
    expect(host.table().map(({ pending }) => pending)).to.deep.equal([false, true]);
    answer.resolve(probe(slow, true));
    await host.probe();
    await settled();
    expect(host.table().map(({ available }) => available)).to.deep.equal([true, true]);
  });

  it("takes a probe that throws for a driver that is not available", async () => {
    const broken = driver("process");
    broken.probed = Promise.reject(new Error("boom"));
    const [row] = await new Host({ drivers: [broken], logger }).probe();
    expect(row).to.deep.include({ available: false });
    expect(row?.reason).to.contain("boom");
  });

  it("keeps the newest verdict when an older try ends later", async () => {
    const flaky = driver("process");
    const first = Promise.withResolvers<DriverProbe>();
    flaky.probed = first.promise;
    const host = new Host({ drivers: [flaky], logger });
    host.table();
    flaky.probed = Promise.resolve(probe(flaky, true));
    await host.probe(true);
    first.resolve(probe(flaky, false));
    await settled();
    expect(host.table()[0]).to.deep.include({ available: true });
  });

  it("tries drivers that are not available again, less and less often", async () => {
    const away = driver("container");
    const works = driver("process");
    let tries = 0;
    const tried = (subject: TestDriver, isThere: () => boolean) => {
      subject.probe = async () => {
        tries += 1;
        return probe(subject, isThere());
      };
    };
    let isThere = false;
    tried(away, () => isThere);
    const host = new Host({ drivers: [works, away], logger });
    const clock = new TestClock();
    await host.probe();
    host.start(clock, 1_000);
    for (let second = 0; second < 7; second++) {
      await settled();
      clock.advance(1_000);
    }
    await settled();
    // At once, after one second, three and seven.
    expect(tries).to.equal(4);
    isThere = true;
    clock.advance(8_000);
    await settled();
    expect(host.table().map(({ available }) => available)).to.deep.equal([true, true]);
    expect((await host.driverFor("container")).isolation).to.equal("container");
    clock.advance(1_000_000);
    await settled();
    expect(tries).to.equal(5);
    await host.close();
    expect(clock.sleeping).to.equal(0);
  });

  it("ends what is being tried, and waits for it, when it closes", async () => {
    const slow = driver("vm");
    const tidied = Promise.withResolvers<void>();
    let isAborted = false;
    slow.probe = async (signal?: AbortSignal) => {
      await new Promise((resolve) => signal?.addEventListener("abort", resolve, { once: true }));
      isAborted = true;
      await tidied.promise;
      return probe(slow, false);
    };
    const host = new Host({ drivers: [slow], logger });
    host.table();
    let isClosed = false;
    const closing = host.close().then(() => {
      isClosed = true;
    });
    await settled();
    expect([isAborted, isClosed]).to.deep.equal([true, false]);
    tidied.resolve();
    await closing;
  });
});
