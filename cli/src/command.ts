/** Owns what a command is, and what it is given. */
import type { NodeDevmesh } from "@devmesh/sdk/node";
import type { Args, OptionTable } from "./args.ts";
import type { Output } from "./output.ts";
import type { Paint } from "./style.ts";

/** What every command works with. */
export interface CommandContext {
  readonly args: Args;
  readonly output: Output;
  /** Colour for stdout. */
  readonly paint: Paint;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The server's URL. */
  readonly url: string;
  /** The token, if one is known. */
  readonly token: string | undefined;
  /** Ctrl-C and termination. */
  readonly interrupts: Interrupts;
  /** The client; made at the first call. */
  devmesh(): NodeDevmesh;
}

/** What a program is told by its terminal. */
export interface Interrupts {
  /** Aborted at the first interrupt, unless a handler took over. */
  readonly signal: AbortSignal;
  /** Takes over: `handler` hears how many interrupts there were. */
  takeOver(handler: (count: number) => void): void;
}

/** One command of the command line. */
export interface Command {
  /** One line, for the list of commands. */
  readonly summary: string;
  /** How to write it, without `devmesh`. */
  readonly usage: string;
  readonly options: OptionTable;
  /** More lines for its own help. */
  readonly notes?: string;
  /** True: its arguments are read by somebody else, or those of some calls. Default: false. */
  readonly passThrough?: boolean | ((argv: readonly string[]) => boolean);
  /** Shows more help, after the command line's own. */
  showMoreHelp?(): Promise<void>;
  /** Answers the exit code. */
  run(context: CommandContext): Promise<number>;
}
