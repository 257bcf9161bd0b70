/** One program from its start to its end: whether a stop came before it, and how it is carried out. */
import { TestClock } from "@devmesh/mesh/runtime";
import { expect } from "chai";
import type { ExitState, OutputChunk, Sandbox } from "../../services/vm/drivers/driver.ts";
import { pump } from "../../services/vm/runner/pump.ts";
import { settled } from "../settled.ts";

/** A program that ends, writes and dies when it is told to. */
class Puppet {
  readonly clock = new TestClock();
  readonly stop = new AbortController();
  readonly fenced = new AbortController();
  readonly signals: string[] = [];
  readonly steps: string[] = [];
  /** How often everything in its sandbox was ended. */
  cleared = 0;
  readonly exit = Promise.withResolvers<ExitState>();
  readonly #output = Promise.withResolvers<void>();

  /** Runs it; what it writes is taken when `taken` resolves. */
  run(taken: Promise<void> = Promise.resolve(), exitsWhenCleared = false) {
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
    const endPrograms = async () => {
      this.cleared++;
      if (exitsWhenCleared) this.#output.resolve();
    };
    const sandbox = { exec: async () => program, endPrograms } as unknown as Sandbox;
    const exec = { argv: ["puppet"], env: {} };
    const onOutput = () => taken;
    const stops = { stop: stop.signal, fenced: fenced.signal, graceMs: 3_000 };
    const onStopStep = (step: string) => void this.steps.push(step);
    return pump({ sandbox, exec, clock, ...stops, onStopStep, onOutput });
  }

  end(exitCode: number): void {
    this.exitAlone(exitCode);
    this.#output.resolve();
  }

  /** Ends, and leaves something behind that has its output. */
  exitAlone(exitCode: number): void {
    this.exit.resolve({ exitCode, outOfMemory: false });
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

  it("ends what holds the output of a program that has ended, when it shall stop", async () => {
    const end = puppet.run(undefined, true);
    await settled();
    puppet.exitAlone(0);
    await settled();
    expect(puppet.cleared).to.equal(0);
    puppet.stop.abort();
    expect(await end).to.deep.include({ exitCode: 0, stopped: false });
    expect(puppet.signals).to.deep.equal([]);
  });

  it("ends what a kill of the program does not find", async () => {
    const end = puppet.run(undefined, true);
    await settled();
    puppet.stop.abort();
    await settled();
    puppet.exitAlone(143);
    puppet.clock.advance(3_000);
    expect(await end).to.deep.include({ exitCode: 143, stopped: true });
    expect(puppet.cleared).to.equal(1);
  });

  it("kills the program when its output cannot be taken", async () => {
    const end = puppet.run(Promise.reject(new Error("no room")));
    const error = await end.catch((thrown: unknown) => thrown);
    expect(String(error)).to.contain("no room");
    expect(puppet.signals).to.deep.equal(["SIGKILL"]);
  });

  it("starts nothing once it is to stop", async () => {
    puppet.stop.abort(new Error("too late"));
    const error = await puppet.run().catch((thrown: unknown) => thrown);
    expect(String(error)).to.contain("too late");
  });
});
