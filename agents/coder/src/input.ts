/** Owns what the agent is told: the environment and the job's input file. */
import { readFile } from "node:fs/promises";
import { text as textOfStream } from "node:stream/consumers";
import { parseResume, type Resume } from "./resume.ts";
import { errorText } from "./text.ts";

/** What the runner sets in the environment. */
export interface Settings {
  /** `unix:/path` or an http(s) URL. */
  readonly backendUrl: string;
  /** Scopes `llm:invoke` and `context:read`. */
  readonly token: string;
  /** For the log. May be empty. */
  readonly jobId: string;
  /** The path of the input file; `-`: standard input. */
  readonly inputPath: string;
}

/** The job, as the input file has it. */
export interface AgentInput {
  /** What to do, in words. */
  readonly task: string;
  /** `provider/name` or a role. Default: `coding`. */
  readonly model: string;
  /** The command that proves the task done. Empty: none. */
  readonly testArgv: readonly string[];
  /** Most model turns. Default, also for 0: 40. */
  readonly maxSteps: number;
  /** Most tokens, in and out. Default, also for 0: 400,000. */
  readonly maxTokens: number;
  /** Most time in seconds. Default, also for 0: 1,700, just below a job's default of 30 minutes. */
  readonly maxSeconds: number;
  /** How often one model turn is tried again. Default: 5. */
  readonly maxRetries: number;
  /** Most bytes of the conversation that is sent. Default, also for 0: 128 KiB. */
  readonly maxContextBytes: number;
  /** What memory knows of the task. Empty: nothing. */
  readonly contextText: string;
  /** The tools allowed besides `finish`. Undefined: all. */
  readonly tools: readonly string[] | undefined;
  /** Most money, in millionths of a US dollar. Default, also for 0: no bound. */
  readonly maxCostMicros: number;
  /** Globs of files that no tool may change. Default: none. */
  readonly protectedPaths: readonly string[];
  /** How tools are called. Default: `auto`. */
  readonly toolProtocol: ToolProtocol;
  /** True: the changed files are told after each call that changed some. Default: false. */
  readonly checkpoints: boolean;
  /** Work of the same job that goes on. Undefined: it begins. */
  readonly resume: Resume | undefined;
}

/** `native`: by the model's own calls. `text`: by blocks in its text. `auto`: as the model can. */
export type ToolProtocol = "auto" | "native" | "text";

/** A setting or an input that cannot be used; names the field. */
export class InputError extends Error {
  override readonly name = "InputError";
}

/** Reads the environment. Throws `InputError`. */
export function readSettings(env: Readonly<Record<string, string | undefined>>): Settings {
  const required = (name: string): string => {
    const value = env[name] ?? "";
    if (value === "") throw new InputError(`${name} is not set`);
    return value;
  };
  return {
    backendUrl: required("BACKEND_URL"),
    token: required("DEVMESH_TOKEN"),
    jobId: env.DEVMESH_JOB_ID ?? "",
    inputPath: required("DEVMESH_AGENT_INPUT"),
  };
}

/** Reads the input file, or standard input. Throws `InputError`. */
export async function readInput(path: string): Promise<AgentInput> {
  let value: unknown;
  try {
    value = JSON.parse(
      path === "-" ? await textOfStream(process.stdin) : await readFile(path, "utf8"),
    );
  } catch (error) {
    throw new InputError(`DEVMESH_AGENT_INPUT: not readable as JSON: ${errorText(error)}`);
  }
  return parseInput(value);
}

/** Checks the input file's value; fields that are not known are ignored. Throws `InputError`. */
export function parseInput(value: unknown): AgentInput {
  const row = objectOf(value, "the input");
  const task = textOf(row.task, "task");
  if (task.trim() === "") throw new InputError("task: must not be empty");
  return {
    task,
    model: textOf(row.model, "model") || "coding",
    testArgv: textsOf(row.testArgv, "testArgv") ?? [],
    maxSteps: countOf(row.maxSteps, "maxSteps") || 40,
    maxTokens: countOf(row.maxTokens, "maxTokens") || 400_000,
    maxSeconds: Math.min(countOf(row.maxSeconds, "maxSeconds") || 1700, 86_400),
    maxRetries: countOf(row.maxRetries ?? 5, "maxRetries"),
    maxContextBytes: countOf(row.maxContextBytes, "maxContextBytes") || 128 * 1024,
    contextText: contextOf(row.contextPack),
    tools: textsOf(row.tools, "tools"),
    maxCostMicros: countOf(row.maxCostMicros, "maxCostMicros"),
    protectedPaths: textsOf(row.protectedPaths, "protectedPaths") ?? [],
    toolProtocol: protocolOf(row.toolProtocol),
    checkpoints: row.checkpoints === true,
    resume: resumeOf(row.resume),
  };
}

function protocolOf(value: unknown): ToolProtocol {
  const name = textOf(value, "toolProtocol") || "auto";
  if (name === "auto" || name === "native" || name === "text") return name;
  throw new InputError("toolProtocol: must be auto, native or text");
}

function resumeOf(value: unknown): Resume | undefined {
  if (value === undefined || value === null) return undefined;
  try {
    return parseResume(value);
  } catch (error) {
    throw new InputError(`resume: ${errorText(error)}`);
  }
}

function contextOf(pack: unknown): string {
  if (pack === null || pack === undefined) return "";
  return textOf(objectOf(pack, "contextPack").text, "contextPack.text");
}

function objectOf(value: unknown, name: string): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new InputError(`${name}: must be an object`);
  }
  return { ...value };
}

function textOf(value: unknown, name: string): string {
  if (value === undefined) return "";
  if (typeof value !== "string") throw new InputError(`${name}: must be a text`);
  return value;
}

function textsOf(value: unknown, name: string): readonly string[] | undefined {
  if (value === undefined || value === null) return undefined;
  if (!Array.isArray(value)) throw new InputError(`${name}: must be a list of texts`);
  return value.map((item, index) => textOf(item, `${name}[${index}]`));
}

function countOf(value: unknown, name: string): number {
  if (value === undefined) return 0;
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) return value;
  throw new InputError(`${name}: must be a whole number from 0`);
}
