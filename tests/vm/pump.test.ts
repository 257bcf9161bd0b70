/** One program from its start to its end: whether a stop came before it, and how it is carried out. */
import { DevmeshError } from "@devmesh/mesh/errors";
import { TestClock } from "@devmesh/mesh/runtime";
import { expect } from "chai";
import type { ExitState, OutputChunk, Sandbox } from "../../services/vm/drivers/driver.ts";
import { endLimitMs } from "../../services/vm/runner/end-watch.ts";
import { pump } from "../../services/vm/runner/pump.ts";
import { settled } from "../settled.ts";

/** A program that ends, writes and dies when it is told to. */
class Puppet {
  readonly clock = new TestClock();
  readonly stop = new AbortController();
  readonly fenced = new AbortController();
  readonly signals: string[] = [];
  readonly steps: string[] = [];
  readonly exit = Promise.withResolvers<ExitState>();
  /** What the sandbox says that runs in it. */
  running = 1;
  readonly #output = Promise.withResolvers<void>();

  /** Runs it; what it writes is taken when `taken` resolves. */
  run(taken: Promise<void> = Promise.resolve()) {
    const { exit, signals, clock, stop, fenced } = this;
    const closed = this.#output.promise;
    const program = {
      exit: exit.promise,
      signal: async (name: string) => {
        signals.push(name);
      },
      async *output(): AsyncGenerator<OutputChunk> {
        yield { stream: "stdout", data: Buffer.from("a") };
        await closed;
      },
    };
    const processes = async () => this.running;
    const names = { id: "sbx_puppet", driver: "fake" };
    const sandbox = { ...names, exec: async () => program, processes } as unknown as Sandbox;
    const exec = { argv: ["puppet"], env: {} };
    const onOutput = () => taken;
    const stops = { stop: stop.signal, fenced: fenced.signal, graceMs: 3_000 };
    const onStopStep = (step: string) => void this.steps.push(step);
    return pump({ sandbox, exec, clock, ...stops, onStopStep, onOutput });
  }

  end(exitCode: number): void {
    this.tell(exitCode);
    this.closeOutput();
  }

  /** Its end is told, its output goes on. */
  tell(exitCode: number): void {
    this.exit.resolve({ exitCode, outOfMemory: false });
  }

  closeOutput(): void {
    this.#output.resolve();
  }

  /** Lets time go by as it does: what is due has its turn in between. */
  async wait(ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= 500) {
      this.clock.advance(Math.min(left, 500));
      await settled();
    }
  }
}

describe("pump", () => {
  let puppet: Puppet;
  beforeEach(() => {
    puppet = new Puppet();
  });

  it("asks a program to stop, and kills it after its grace", async () => {
    const end = puppet.run();
    await settled();
    puppet.stop.abort();
    await settled();
    expect(puppet.signals).to.deep.equal(["SIGTERM"]);
    puppet.clock.advance(2_999);
    await settled();
    expect(puppet.signals).to.deep.equal(["SIGTERM"]);
    puppet.clock.advance(1);
    await settled();
    expect(puppet.signals).to.deep.equal(["SIGTERM", "SIGKILL"]);
    puppet.end(137);
    expect(await end).to.deep.include({ exitCode: 137, stopped: true });
    expect(puppet.steps).to.deep.equal(["signalled", "killed", "stopped"]);
  });

  it("does not kill a program that stops in time", async () => {
    const end = puppet.run();
    await settled();
    puppet.stop.abort();
    puppet.end(143);
    expect(await end).to.deep.include({ exitCode: 143, stopped: true });
    puppet.clock.advance(60_000);
    await settled();
    expect(puppet.signals).to.deep.equal(["SIGTERM"]);
    expect(puppet.steps).to.deep.equal(["signalled", "stopped"]);
  });

  it("kills a program at once when the lease is lost", async () => {
    void puppet.run();
    await settled();
    puppet.fenced.abort();
    expect(puppet.signals).to.deep.equal(["SIGKILL"]);
    puppet.end(137);
  });

  it("does not count a stop that comes after the end, while output is still taken", async () => {
    const taken = Promise.withResolvers<void>();
    const end = puppet.run(taken.promise);
    await settled();
    puppet.end(0);
    await settled();
    puppet.stop.abort();
    taken.resolve();
    expect(await end).to.deep.include({ exitCode: 0, stopped: false });
    expect(puppet.steps).to.deep.equal([]);
    expect(puppet.signals).to.deep.equal([]);
  });

  it("kills the program when its output cannot be taken", async () => {
    const end = puppet.run(Promise.reject(new Error("no room")));
    const error = await end.catch((thrown: unknown) => thrown);
    expect(String(error)).to.contain("no room");
    expect(puppet.signals).to.deep.equal(["SIGKILL"]);
  });

  describe("with a driver that does not tell a program's end", () => {
    const reasonOf = (end: Promise<unknown>) =>
      end.then(
        () => "none",
        (error: unknown) => (error instanceof DevmeshError ? error.reason : String(error)),
      );

    for (const [what, tells] of [
      ["nothing", () => {}],
      ["the end of its output", () => puppet.closeOutput()],
      ["its exit", () => puppet.tell(137)],
    ] as const) {
      it(`fails after a kill of which it tells only ${what}`, async () => {
        const end = reasonOf(puppet.run());
        await settled();
        puppet.fenced.abort();
        tells();
        await puppet.wait(2 * endLimitMs + 1_000);
        expect(await end).to.equal("SANDBOX_FAILED");
      });
    }

    it("fails once nothing runs in the sandbox any more, and not before", async () => {
      let reason = "";
      const end = reasonOf(puppet.run()).then((told) => {
        reason = told;
      });
      await settled();
      puppet.closeOutput();
      await puppet.wait(10 * endLimitMs);
      expect(reason).to.equal("");
      puppet.running = 0;
      await puppet.wait(3 * endLimitMs);
      await end;
      expect(reason).to.equal("SANDBOX_FAILED");
      expect(puppet.signals).to.deep.equal(["SIGKILL"]);
    });

    it("does not count the time in which output is held back", async () => {
      const taken = Promise.withResolvers<void>();
      const end = puppet.run(taken.promise);
      await settled();
      puppet.fenced.abort();
      await puppet.wait(10 * endLimitMs);
      taken.resolve();
      puppet.end(137);
      expect(await end).to.deep.include({ exitCode: 137 });
    });
  });

  it("starts nothing once it is to stop", async () => {
    puppet.stop.abort(new Error("too late"));
    const error = await puppet.run().catch((thrown: unknown) => thrown);
    expect(String(error)).to.contain("too late");
  });
});
