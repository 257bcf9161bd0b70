/** Owns which tools there are, and answering calls: every failure becomes words for the model. */
import { InputError } from "../input.ts";
import type { ModelCall, ToolDefinition } from "../model/chat-model.ts";
import { createEditFile } from "./edit-file.ts";
import { finishName, finishTool } from "./finish.ts";
import type { Jail } from "./jail.ts";
import { createListFiles } from "./list-files.ts";
import { createReadFile } from "./read-file.ts";
import { createRun } from "./run.ts";
import { createSearch } from "./search.ts";
import { ArgumentError, Arguments, type Tool, type ToolContext, ToolError } from "./tool.ts";
import { createWriteFile } from "./write-file.ts";

/** How a call went. `malformed`: it was wrong in itself; `finished`: the work is done. */
export type CallOutcome = "ok" | "failed" | "malformed" | "finished";

/** The answer to a call. */
export interface CallResult {
  readonly outcome: CallOutcome;
  /** For the model. */
  readonly text: string;
}

/** What the tools work on. */
export interface ToolboxOptions {
  readonly jail: Jail;
  /** For programs; see `programEnv`. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The names that are allowed besides `finish`. Default: all. */
  readonly allowed?: readonly string[] | undefined;
}

/** The tools of one job. */
export class Toolbox {
  readonly #tools: ReadonlyMap<string, Tool>;

  /** Throws `InputError` if a name is allowed that no tool has. */
  constructor({ jail, env, allowed }: ToolboxOptions) {
    const all = [
      createListFiles(jail),
      createReadFile(jail),
      createSearch({ jail, env }),
      createEditFile(jail),
      createWriteFile(jail),
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
        throw new ArgumentError(
          `there is no tool ${JSON.stringify(name)}; use one of ${this.names}`,
        );
      }
      const text = await tool.run(Arguments.parse(json), context);
      return { outcome: name === finishName ? "finished" : "ok", text };
    } catch (error) {
      context.signal.throwIfAborted();
      if (!(error instanceof ToolError)) throw error;
      const outcome = error instanceof ArgumentError ? "malformed" : "failed";
      return { outcome, text: `error: ${error.message}` };
    }
  }
}
