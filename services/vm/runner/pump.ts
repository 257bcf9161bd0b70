/** Runs one program in a sandbox to its end, with its output, and stops it when asked. */
import type { Clock } from "@devmesh/mesh/runtime";
import type { ExecSpec, ExitState, Sandbox, SandboxProcess } from "../drivers/driver.ts";
import { EndWatch } from "./end-watch.ts";

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
 * start, and SANDBOX_FAILED when the driver does not tell the program's end.
 */
export async function pump(input: PumpInput): Promise<PumpEnd> {
  const { sandbox, exec, stop, clock } = input;
  stop.throwIfAborted();
  const program = await sandbox.exec(exec, stop);
  using watch = new EndWatch({ sandbox, clock, exit: program.exit });
  using stopper = new Stopper(program, watch, input);
  try {
    await takeAll(program, watch, input);
    watch.closed();
    const exit = await Promise.race([program.exit, watch.lost]);
    return { ...exit, stopped: stopper.stopped };
  } catch (error) {
    await Promise.race([stopper.kill(), watch.lost.catch(() => {})]);
    throw error;
  }
}

/** No `for await`: leaving one waits for the piece that never comes. */
async function takeAll(program: SandboxProcess, watch: EndWatch, { onOutput }: PumpInput) {
  const pieces = program.output()[Symbol.asyncIterator]();
  try {
    for (;;) {
      const { done, value } = await Promise.race([pieces.next(), watch.lost]);
      if (done === true) return;
      await watch.hear(onOutput(value.stream, value.data));
    }
  } catch (error) {
    // What failed is thrown; an output that is left has nothing more to tell.
    void pieces.return?.().catch(() => {});
    throw error;
  }
}

/** Stops one program when it is asked to. */
class Stopper {
  readonly #program: SandboxProcess;
  readonly #watch: EndWatch;
  readonly #input: PumpInput;
  readonly #done = new AbortController();
  #ended = false;
  #stopped = false;

  constructor(program: SandboxProcess, watch: EndWatch, input: PumpInput) {
    this.#program = program;
    this.#watch = watch;
    this.#input = input;
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

  /**
   * Ends all that runs: what has left the program's family may hold its output open. A program
   * that is gone needs no signal, and one of a deleted sandbox gets none.
   */
  async kill(): Promise<void> {
    const sent = this.#program.signal("SIGKILL");
    this.#watch.killed();
    // Not one after the other: a sandbox that is busy with itself may not answer the first.
    const ended = this.#input.sandbox.endPrograms();
    await Promise.allSettled([sent, ended]);
  }

  [Symbol.dispose](): void {
    this.#done.abort();
  }

  async #stop(): Promise<void> {
    const { sandbox, clock, graceMs, onStopStep } = this.#input;
    if (this.#ended) {
      // Its own end counts; what it left behind may hold its output open for ever.
      await sandbox.endPrograms().catch(() => {});
      return;
    }
    this.#stopped = true;
    // Told before it is sent: the program may be gone when the call returns.
    onStopStep("signalled");
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
