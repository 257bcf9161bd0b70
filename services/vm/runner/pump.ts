/** Runs one program in a sandbox to its end, with its output, and stops it when asked. */
import type { ExecSpec, ExitState, Sandbox, SandboxProcess } from "../drivers/driver.ts";

/** How long a program has to end after SIGTERM before it is killed. */
const graceMs = 5_000;

/** What to run. */
export interface PumpInput {
  readonly sandbox: Sandbox;
  readonly exec: ExecSpec;
  /** Aborts when the program shall stop: SIGTERM, grace, SIGKILL. */
  readonly stop: AbortSignal;
  /** Gets the output in order; the program is held back until it resolves. */
  readonly onOutput: (stream: "stdout" | "stderr", chunk: Buffer) => Promise<void>;
}

/** Resolves with the exit state once all output is taken. Throws COMMAND_NOT_FOUND. */
export async function pump({ sandbox, exec, stop, onOutput }: PumpInput): Promise<ExitState> {
  stop.throwIfAborted();
  const program = await sandbox.exec(exec, stop);
  const stopping = stopWhenAsked(program, stop);
  try {
    for await (const { stream, data } of program.output()) await onOutput(stream, data);
    return await program.exit;
  } catch (error) {
    await program.signal("SIGKILL");
    throw error;
  } finally {
    stopping.done();
  }
}

function stopWhenAsked(program: SandboxProcess, stop: AbortSignal): { done(): void } {
  let kill: NodeJS.Timeout | undefined;
  // A program that is gone already needs no signal; the sandbox is deleted in any case.
  const send = (name: "SIGTERM" | "SIGKILL") => void program.signal(name).catch(() => {});
  const onStop = () => {
    send("SIGTERM");
    kill = setTimeout(() => send("SIGKILL"), graceMs);
  };
  if (stop.aborted) onStop();
  else stop.addEventListener("abort", onStop, { once: true });
  return {
    done() {
      stop.removeEventListener("abort", onStop);
      clearTimeout(kill);
    },
  };
}
