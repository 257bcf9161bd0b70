/** Runs one program in a sandbox to its end, with its output, and stops it when asked. */
import type { Clock } from "@devmesh/mesh/runtime";
import type { ExecSpec, ExitState, Sandbox, SandboxProcess } from "../drivers/driver.ts";
import { sandboxFailed } from "../drivers/driver-errors.ts";

/** A killed program that is still there after this long has halted what runs it. */
const killedLimitMs = 30_000;

/** SIGTERM is sent, SIGKILL is sent, the program is gone after one of them. */
export type StopStep = "signalled" | "killed" | "stopped";

/** When programs are to end before their time. */
export interface StopSignals {
  /** Aborts when the work shall stop: SIGTERM, grace, SIGKILL. */
  readonly stop: AbortSignal;
  /** Aborts when the lease is lost: SIGKILL at once. Aborts `stop` too. */
  readonly fenced: AbortSignal;
  /** How long a program has to end after SIGTERM before it is killed, in milliseconds. */
  readonly graceMs: number;
  /** Hears of each step of a stop. */
  readonly onStopStep: (step: StopStep) => void;
}

/** What to run. */
export interface PumpInput extends StopSignals {
  readonly sandbox: Sandbox;
  readonly exec: ExecSpec;
  readonly clock: Clock;
  /** Gets the output in order; the program is held back until it resolves. */
  readonly onOutput: (stream: "stdout" | "stderr", chunk: Buffer) => Promise<void>;
}

/** How a program ended. */
export interface PumpEnd extends ExitState {
  /** True if it was told to stop before it had ended by itself. */
  readonly stopped: boolean;
}

/**
 * Resolves once all output is taken. Throws COMMAND_NOT_FOUND, the reason of a stop before the
 * start, and SANDBOX_FAILED for a program that SIGKILL does not end: its sandbox is to go then.
 */
export async function pump(input: PumpInput): Promise<PumpEnd> {
  const { sandbox, exec, stop, onOutput } = input;
  stop.throwIfAborted();
  const program = await sandbox.exec(exec, stop);
  using stopper = new Stopper(program, input);
  const whole = async () => {
    for await (const { stream, data } of program.output()) await onOutput(stream, data);
    return await program.exit;
  };
  try {
    const exit = await Promise.race([whole(), stopper.givenUp]);
    return { ...exit, stopped: stopper.stopped };
  } catch (error) {
    await stopper.kill();
    throw error;
  }
}

/** Stops one program when it is asked to. */
class Stopper {
  readonly #program: SandboxProcess;
  readonly #input: PumpInput;
  readonly #done = new AbortController();
  readonly #givenUp = Promise.withResolvers<never>();
  readonly #driver: string;
  #ended = false;
  #stopped = false;
  #killing: Promise<void> | undefined;

  constructor(program: SandboxProcess, input: PumpInput) {
    this.#program = program;
    this.#input = input;
    this.#driver = input.sandbox.driver;
    // Who pumps hears of it.
    this.#givenUp.promise.catch(() => {});
    const { stop, fenced } = input;
    const noteEnd = () => {
      this.#ended = true;
      if (this.#stopped) input.onStopStep("stopped");
    };
    // Who waits for the exit hears of its failure; here it only means the end.
    program.exit.then(noteEnd, noteEnd);
    this.#when(stop, () => void this.#stop());
    this.#when(fenced, () => void this.kill());
  }

  get stopped(): boolean {
    return this.#stopped;
  }

  /** Rejects when the program was killed and is there all the same. */
  get givenUp(): Promise<never> {
    return this.#givenUp.promise;
  }

  /** A program that is gone needs no signal, and one of a deleted sandbox gets none. */
  kill(): Promise<void> {
    this.#killing ??= this.#kill();
    return this.#killing;
  }

  /** The signal itself may get no answer: what would give it may have been halted from inside. */
  async #kill(): Promise<void> {
    const sent = this.#program.signal("SIGKILL").catch(() => {});
    const late = this.#input.clock.sleep(killedLimitMs, this.#done.signal).then(
      () => this.#giveUp(),
      // It was pumped to its end.
      () => {},
    );
    await Promise.race([sent, late]);
  }

  #giveUp(): void {
    if (this.#ended) return;
    const message = "the sandbox was halted from inside: SIGKILL does not end its program";
    this.#givenUp.reject(sandboxFailed(this.#driver, message));
  }

  [Symbol.dispose](): void {
    this.#done.abort();
  }

  async #stop(): Promise<void> {
    if (this.#ended) return;
    this.#stopped = true;
    const { clock, graceMs, onStopStep } = this.#input;
    // Told before it is sent: the program may be gone when the call returns.
    onStopStep("signalled");
    // Not waited for: what would answer may have been halted.
    void this.#program.signal("SIGTERM").catch(() => {});
    try {
      await clock.sleep(graceMs, this.#done.signal);
    } catch {
      // It ended in time.
      return;
    }
    if (!this.#ended) onStopStep("killed");
    await this.kill();
  }

  #when(signal: AbortSignal, act: () => void): void {
    if (signal.aborted) act();
    else signal.addEventListener("abort", act, { once: true, signal: this.#done.signal });
  }
}
