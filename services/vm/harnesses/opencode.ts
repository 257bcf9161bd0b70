/** opencode: how it is started where nobody answers it, and how its events are read. */
import type { Note } from "../runner/job-notes.ts";
import { accountOf, callNote, troubleNote, turnNote } from "./agent-notes.ts";
import { countOf, eventOf, excerpt, type Fields, fieldsOf, textOf } from "./event-fields.ts";
import {
  type Harness,
  type HarnessCommand,
  type HarnessReader,
  type HarnessReport,
  type HarnessTask,
  type HarnessUsage,
  harnessFolder,
  harnessPath,
  maxCommands,
} from "./harness.ts";

/** Its configuration: one provider, the backend, and no word to anybody else. */
function configuration({ model, baseUrl }: HarnessTask): object {
  return {
    autoupdate: false,
    share: "disabled",
    // The job's patch is the snapshot.
    snapshot: false,
    enabled_providers: ["devmesh"],
    provider: {
      devmesh: {
        npm: "@ai-sdk/openai-compatible",
        name: "devmesh",
        // Read from its environment, so that no file or listing shows it.
        options: { baseURL: baseUrl, apiKey: "{env:OPENAI_API_KEY}" },
        models: { [model]: { name: model, tool_call: true } },
      },
    },
    model: `devmesh/${model}`,
    small_model: `devmesh/${model}`,
    // The sandbox is the boundary: there is nobody to ask.
    permission: { edit: "allow", bash: "allow", webfetch: "deny", external_directory: "allow" },
  };
}

/** The agent. */
export const opencode: Harness = {
  name: "opencode",
  isInstalled: true,
  tells: { steps: true, tokens: true },
  exec(task) {
    const own = ["run", "--format", "json", "--model", `devmesh/${task.model}`];
    return {
      argv: [`${harnessFolder}/opencode`, ...own, ...task.argv, "--", task.prompt],
      env: {
        PATH: harnessPath,
        HOME: "/tmp",
        OPENAI_API_KEY: task.token,
        NO_PROXY: "127.0.0.1",
        OPENCODE_CONFIG_CONTENT: JSON.stringify(configuration(task)),
        OPENCODE_DISABLE_AUTOUPDATE: "1",
        OPENCODE_DISABLE_DEFAULT_PLUGINS: "1",
        OPENCODE_DISABLE_LSP_DOWNLOAD: "1",
        OPENCODE_DISABLE_MODELS_FETCH: "1",
      },
    };
  },
  reader: () => new OpencodeReader(),
};

class OpencodeReader implements HarnessReader {
  #summary = "";
  #failure = "";
  #lastReason = "";
  readonly #commands: HarnessCommand[] = [];
  #usage: HarnessUsage = { steps: 0, inputTokens: 0, outputTokens: 0 };

  get usage(): HarnessUsage {
    return this.#usage;
  }

  take(line: string): readonly Note[] | undefined {
    const event = eventOf(line);
    if (event === undefined) return undefined;
    const part = fieldsOf(event.part);
    switch (event.type) {
      case "step_start":
      case "reasoning":
        return [];
      case "text": {
        this.#summary = textOf(part.text);
        return [turnNote(this.#summary)];
      }
      case "tool_use":
        if (part.tool === "bash" && this.#commands.length < maxCommands) {
          this.#commands.push(commandOf(fieldsOf(part.state)));
        }
        return [noteOfCall(part)];
      case "step_finish":
        this.#step(part);
        return [];
      case "error": {
        this.#failure = failureOf(fieldsOf(event.error));
        return [troubleNote("error", this.#failure)];
      }
      default:
        return undefined;
    }
  }

  report(exitCode: number): HarnessReport {
    // A step that ends by calling tools is followed by another.
    const isDone = this.#lastReason !== "" && this.#lastReason !== "tool-calls";
    return accountOf({
      ...{ name: "opencode", exitCode, isDone, failure: this.#failure },
      ...{ summary: this.#summary, commands: this.#commands },
    });
  }

  #step(part: Fields): void {
    this.#lastReason = textOf(part.reason) || "unknown";
    const tokens = fieldsOf(part.tokens);
    const cache = fieldsOf(tokens.cache);
    const { steps, inputTokens, outputTokens } = this.#usage;
    this.#usage = {
      steps: steps + 1,
      inputTokens: inputTokens + countOf(tokens.input) + countOf(cache.read) + countOf(cache.write),
      outputTokens: outputTokens + countOf(tokens.output) + countOf(tokens.reasoning),
    };
  }
}

function commandOf(state: Fields): HarnessCommand {
  const { exit } = fieldsOf(state.metadata);
  const { start, end } = fieldsOf(state.time);
  return {
    command: textOf(fieldsOf(state.input).command),
    exitCode: typeof exit === "number" ? exit : -1,
    ms: Math.max(0, countOf(end) - countOf(start)),
  };
}

function noteOfCall(part: Fields): Note {
  const tool = textOf(part.tool);
  const state = fieldsOf(part.state);
  const status = textOf(state.status);
  const isFailed = status === "error";
  const output = excerpt(textOf(isFailed ? state.error : state.output));
  const input = JSON.stringify(state.input ?? {});
  const message = `${tool} ${textOf(state.title) || excerpt(input, 200)}`;
  return callNote(message, isFailed, { tool, status, input: excerpt(input), output });
}

function failureOf(error: Fields): string {
  const message = textOf(fieldsOf(error.data).message) || textOf(error.message);
  return message || textOf(error.name) || "it failed";
}
