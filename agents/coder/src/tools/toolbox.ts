/** Owns which tools there are, and answering calls: every failure becomes words for the model. */
import { InputError } from "../input.ts";
import type { ModelCall, ToolDefinition } from "../model/chat-model.ts";
import { oneLine } from "../text.ts";
import { createApplyPatch } from "./apply-patch.ts";
import { createEditFile } from "./edit-file.ts";
import { finishName, finishTool } from "./finish.ts";
import type { Jail } from "./jail.ts";
import { createListFiles } from "./list-files.ts";
import { nearName } from "./near-name.ts";
import { Protection } from "./protection.ts";
import { createReadFile } from "./read-file.ts";
import { createRun } from "./run.ts";
import { createSearch } from "./search.ts";
import {
  ArgumentError,
  Arguments,
  type RunCommand,
  type Tool,
  type ToolContext,
  ToolError,
  type ToolResult,
} from "./tool.ts";
import { createWriteFile } from "./write-file.ts";

/** How a call went. `malformed`: it was wrong in itself; `finished`: the work is done. */
export type CallOutcome = "ok" | "failed" | "malformed" | "finished";

/** The answer to a call. */
export interface CallResult {
  readonly outcome: CallOutcome;
  /** For the model. */
  readonly text: string;
  /** The program that was run; undefined for calls that run none. */
  readonly command?: RunCommand;
}

/** What the tools work on. */
export interface ToolboxOptions {
  readonly jail: Jail;
  /** For programs; see `programEnv`. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The names that are allowed besides `finish`. Default: all. */
  readonly allowed?: readonly string[] | undefined;
  /** Globs of files that no tool may change. Default: none. */
  readonly protectedPaths?: readonly string[] | undefined;
}

/** The tools of one job. */
export class Toolbox {
  readonly #tools: ReadonlyMap<string, Tool>;

  /** Throws `InputError` if a name is allowed that no tool has. */
  constructor({ jail, env, allowed, protectedPaths }: ToolboxOptions) {
    const protection = protectionOf(protectedPaths);
    const all = [
      createListFiles(jail),
      createReadFile(jail),
      createSearch({ jail, env }),
      createEditFile(jail, protection),
      createApplyPatch(jail, protection),
      createWriteFile(jail, protection),
      createRun({ jail, env }),
    ];
    const unknown = allowed?.find(
      (name) => name !== finishName && !all.some((tool) => tool.name === name),
    );
    if (unknown !== undefined) throw new InputError(`tools: there is no tool ${unknown}`);
    const chosen = all.filter((tool) => allowed === undefined || allowed.includes(tool.name));
    this.#tools = new Map([...chosen, finishTool].map((tool) => [tool.name, tool]));
  }

  /** The tools' names, in the order in which the model is told of them. */
  get names(): readonly string[] {
    return [...this.#tools.keys()];
  }

  /** True if a call of this tool may change files. */
  mayChange(name: string): boolean {
    return this.#tools.get(name)?.mayChange === true;
  }

  /** The tools as the model is told of them. */
  definitions(): ToolDefinition[] {
    return [...this.#tools.values()].map(({ name, description, parameters }) => ({
      type: "function",
      function: { name, description, parameters: { ...parameters } },
    }));
  }

  /** Answers one call. Throws only the signal's reason, and what is a mistake of the agent itself. */
  async call({ name, arguments: json }: ModelCall, context: ToolContext): Promise<CallResult> {
    context.signal.throwIfAborted();
    try {
      const tool = this.#tools.get(name);
      if (tool === undefined) {
        const near = nearName(name, this.names);
        const meant = near === undefined ? ";" : `; did you mean ${near}?`;
        throw new ArgumentError(
          `there is no tool ${JSON.stringify(oneLine(name, 100))}${meant} use one of ${this.names.join(", ")}`,
        );
      }
      const { text, command } = resultOf(await tool.run(Arguments.parse(json), context));
      const outcome = name === finishName ? "finished" : "ok";
      return { outcome, text, ...(command && { command }) };
    } catch (error) {
      context.signal.throwIfAborted();
      if (!(error instanceof ToolError)) throw error;
      const outcome = error instanceof ArgumentError ? "malformed" : "failed";
      return { outcome, text: `error: ${error.message}` };
    }
  }
}

function resultOf(result: string | ToolResult): ToolResult {
  return typeof result === "string" ? { text: result } : result;
}

function protectionOf(globs: readonly string[] | undefined): Protection {
  try {
    return new Protection(globs);
  } catch (error) {
    throw new InputError(`protectedPaths: ${error instanceof Error ? error.message : error}`);
  }
}
