/** OpenAI's codex: how it is started where nobody answers it, and how its events are read. */
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

/** How long a model may be silent: local ones take their time. */
const modelIdleMs = 1_800_000;

/** The settings that make it talk to the backend and to nobody else. */
function settings({ model, baseUrl }: HarnessTask): Readonly<Record<string, unknown>> {
  return {
    model,
    model_provider: "devmesh",
    "model_providers.devmesh.name": "devmesh",
    "model_providers.devmesh.base_url": baseUrl,
    "model_providers.devmesh.wire_api": "responses",
    "model_providers.devmesh.env_key": "OPENAI_API_KEY",
    "model_providers.devmesh.stream_idle_timeout_ms": modelIdleMs,
    // The sandbox is the boundary: there is nobody to ask, and no right to be had by asking.
    approval_policy: "never",
    sandbox_mode: "danger-full-access",
    check_for_update_on_startup: false,
    "analytics.enabled": false,
    "features.plugins": false,
    "history.persistence": "none",
    web_search: "disabled",
    // A login shell would look for programs elsewhere than the sandbox says.
    allow_login_shell: false,
  };
}

/** Its home must not lie in the folder for temporary files. */
const home = { HOME: "/tmp/home", TMPDIR: "/tmp/tmp" };
const makeHome = 'mkdir -p "$HOME" "$TMPDIR" && exec "$0" "$@"';

/** The agent. */
export const codex: Harness = {
  name: "codex",
  isInstalled: true,
  tells: { steps: true, tokens: false },
  exec(task) {
    const overrides = Object.entries(settings(task)).flatMap(([key, value]) => [
      "-c",
      // A JSON text or number is one of TOML, too.
      `${key}=${JSON.stringify(value)}`,
    ]);
    const own = ["--json", "--skip-git-repo-check", "--color", "never", "-C", "/work"];
    const program = [`${harnessFolder}/codex`, "exec", ...own, ...overrides, ...task.argv];
    return {
      argv: ["sh", "-c", makeHome, ...program, "--", task.prompt],
      env: { ...home, PATH: harnessPath, OPENAI_API_KEY: task.token, NO_PROXY: "127.0.0.1" },
    };
  },
  reader: () => new CodexReader(),
};

/** What its items are that call a tool. */
const calls = ["command_execution", "file_change", "mcp_tool_call", "web_search"];

class CodexReader implements HarnessReader {
  #summary = "";
  #failure = "";
  #isDone = false;
  readonly #commands: HarnessCommand[] = [];
  #usage: HarnessUsage = { steps: 0, inputTokens: 0, outputTokens: 0 };

  get usage(): HarnessUsage {
    return this.#usage;
  }

  take(line: string): readonly Note[] | undefined {
    const event = eventOf(line);
    if (event === undefined) return undefined;
    switch (event.type) {
      case "thread.started":
      case "turn.started":
      case "item.started":
      case "item.updated":
        return [];
      case "item.completed":
        return this.#item(fieldsOf(event.item));
      case "turn.completed": {
        this.#isDone = true;
        // Every turn of the model but the last calls a tool.
        this.#step();
        const usage = fieldsOf(event.usage);
        const inputTokens = this.#usage.inputTokens + countOf(usage.input_tokens);
        const outputTokens = this.#usage.outputTokens + countOf(usage.output_tokens);
        this.#usage = { ...this.#usage, inputTokens, outputTokens };
        return [];
      }
      case "turn.failed":
        this.#failure = textOf(fieldsOf(event.error).message) || "the turn failed";
        return [troubleNote("error", this.#failure)];
      case "error":
        return [troubleNote("warn", textOf(event.message))];
      default:
        return undefined;
    }
  }

  report(exitCode: number): HarnessReport {
    return accountOf({
      ...{ name: "codex", exitCode, isDone: this.#isDone, failure: this.#failure },
      ...{ summary: this.#summary, commands: this.#commands },
    });
  }

  #item(item: Fields): readonly Note[] {
    const type = textOf(item.type);
    if (type === "agent_message") {
      this.#summary = textOf(item.text);
      return [turnNote(this.#summary)];
    }
    if (type === "error") {
      return [troubleNote("warn", textOf(item.message))];
    }
    if (!calls.includes(type)) return [];
    this.#step();
    if (type === "command_execution" && this.#commands.length < maxCommands) {
      const exitCode = typeof item.exit_code === "number" ? item.exit_code : -1;
      this.#commands.push({ command: textOf(item.command), exitCode, ms: 0 });
    }
    return [noteOfCall(type, item)];
  }

  #step(): void {
    this.#usage = { ...this.#usage, steps: this.#usage.steps + 1 };
  }
}

function noteOfCall(type: string, item: Fields): Note {
  const isFailed = item.status === "failed" || item.status === "declined";
  const { exit_code: exitCode } = item;
  const facts = {
    tool: type,
    status: textOf(item.status),
    ...(typeof exitCode === "number" && { exitCode }),
  };
  if (type === "command_execution") {
    const command = textOf(item.command);
    const output = excerpt(textOf(item.aggregated_output));
    return callNote(command, isFailed, { ...facts, command: excerpt(command), output });
  }
  if (type === "file_change") {
    const changes = Array.isArray(item.changes) ? item.changes.slice(0, 100).map(fieldsOf) : [];
    const paths = changes.map(({ path, kind }) => ({ path: textOf(path), kind: textOf(kind) }));
    const message = `changed ${paths.map(({ path }) => path).join(", ")}`;
    return callNote(message, isFailed, { ...facts, changes: paths });
  }
  const tool = textOf(item.tool) || textOf(item.query);
  return callNote(`${type} ${tool}`, isFailed, facts);
}
