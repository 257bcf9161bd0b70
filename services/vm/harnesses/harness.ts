/**
 * The port behind which agents of other makers do a job's work: programs that
 * know nothing of devmesh and talk to an OpenAI-compatible address. How one
 * is put into a sandbox and judged is left to the runner.
 */
import type { ExecSpec } from "../drivers/driver.ts";
import type { Note } from "../runner/job-notes.ts";

/** Where an agent's own programs are in the sandbox. */
export const harnessFolder = "/opt/devmesh/harness";

/** Where agents look for programs: their own first, and devmesh's Node among them. */
export const harnessPath = `${harnessFolder}:/opt/devmesh/bin:/usr/local/bin:/usr/bin:/bin`;

/** A report has no more commands than these. */
export const maxCommands = 500;

/** What one job asks of an agent. */
export interface HarnessTask {
  /** The task as the job has it. */
  readonly task: string;
  /** The same with all that the agent is told of it: what proves it done, and context. */
  readonly prompt: string;
  /** `provider/name` or a role, as the job names it. */
  readonly model: string;
  /** The job's own arguments for the program. */
  readonly argv: readonly string[];
  /** The models: `http://127.0.0.1:port/v1`. */
  readonly baseUrl: string;
  /** The job's token, the one credential in the sandbox. */
  readonly token: string;
}

/** What an agent has used so far, as far as it tells. */
export interface HarnessUsage {
  readonly steps: number;
  readonly inputTokens: number;
  readonly outputTokens: number;
}

/** A command that an agent ran. */
export interface HarnessCommand {
  readonly command: string;
  readonly exitCode: number;
  /** How long it took, in milliseconds. 0: it does not tell. */
  readonly ms: number;
}

/** An agent's own account of its work. */
export interface HarnessReport {
  /** The last thing it said. */
  readonly summary: string;
  /** True if it did all that it wanted to. */
  readonly finished: boolean;
  /** Why it did not. Empty: it did. */
  readonly message: string;
  /** The commands that it ran, as far as it tells. */
  readonly commands: readonly HarnessCommand[];
}

/** Reads what one run of an agent writes to its standard output. */
export interface HarnessReader {
  /** What a line tells. Undefined: it is no event of the agent, and stays in the log. */
  take(line: string): readonly Note[] | undefined;
  readonly usage: HarnessUsage;
  /** Its account once it has ended. */
  report(exitCode: number): HarnessReport;
}

/** One kind of agent. */
export interface Harness {
  /** As `devmesh agent --with` names it. */
  readonly name: string;
  /** False: its program comes with the sandbox or the workspace. */
  readonly isInstalled: boolean;
  /** Which bounds can be held while it works, by what it tells. */
  readonly tells: { readonly steps: boolean; readonly tokens: boolean };
  /** How it is started. Throws INVALID_FIELD for arguments that cannot be. */
  exec(task: HarnessTask): ExecSpec;
  reader(): HarnessReader;
}
