/**
 * A recorded script and how it is read. The file is JSON:
 *
 *     {
 *       "models": [{ "name": "replay", "roles": ["chat", "coding"],
 *                    "contextTokens": 8192, "dimensions": 0 }],
 *       "conversations": [{
 *         "when": { "contains": "fix the test", "tools": true },
 *         "turns": [
 *           { "when": { "lastMessage": "fix the test" },
 *             "pieces": [{ "text": "I look." },
 *                        { "toolCall": { "name": "read", "arguments": { "path": "a.ts" } } }] },
 *           { "when": { "toolResult": "expect(1)" },
 *             "pieces": [{ "text": "Done." }],
 *             "usage": { "inputTokens": 100, "outputTokens": 2 } }]
 *       }]
 *     }
 *
 * `models`: default one model `scripted` for `chat` and `coding`, window
 * unknown. With `dimensions` above 0 a model embeds, by a hash of the words.
 * `conversations`: the first whose `when` fits is used; `contains` is looked
 * for in every message, `tools` says whether tools must be offered. `turns`
 * at the top stands for one conversation that always fits.
 * `turns`: the turn's number is the number of assistant messages so far, so
 * the same conversation always gets the same answer, however often it is asked.
 * `when`: `lastMessage` must be in the last message, `toolResult` in a tool
 * message since the last assistant message; else the turn fails with
 * PROVIDER_PROTOCOL and says what it expected.
 * `pieces`: `text`; `toolCall` (`arguments` an object or text, `id` by default
 * `call_<turn>_<piece>`); `fault` `{ reason, message?, retryAfterMs? }` ends the
 * answer with that error; `hang: true` waits until the caller goes away.
 * `usage`: default an estimate. Nothing in a script is a template.
 */
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { DevmeshError, isReason, type Reason } from "@devmesh/mesh/errors";
import type { ModelRole, ProviderModel } from "../provider.ts";

/** One piece of a scripted answer. */
export type ScriptPiece =
  | { readonly type: "text"; readonly text: string }
  | {
      readonly type: "toolCall";
      readonly id: string | undefined;
      readonly name: string;
      readonly arguments: string;
    }
  | {
      readonly type: "fault";
      readonly reason: Reason;
      readonly message: string;
      readonly retryAfterMs: number | undefined;
    }
  | { readonly type: "hang" };

/** One scripted answer. */
export interface ScriptTurn {
  readonly lastMessage: string | undefined;
  readonly toolResult: string | undefined;
  readonly pieces: readonly ScriptPiece[];
  readonly usage: { readonly inputTokens: number; readonly outputTokens: number } | undefined;
}

/** The answers of one conversation. */
export interface ScriptConversation {
  readonly contains: string | undefined;
  readonly tools: boolean | undefined;
  readonly turns: readonly ScriptTurn[];
}

/** A whole script. */
export interface Script {
  readonly models: readonly ProviderModel[];
  readonly conversations: readonly ScriptConversation[];
}

/**
 * Reads a script's file, or every `conversation.json` in the folders of a folder,
 * in the order of their names. Throws CONFIG_INVALID with the place of the mistake.
 */
export function loadScript(path: string): Script {
  const files = statSync(path, { throwIfNoEntry: false })?.isDirectory() ? filesIn(path) : [path];
  const scripts = files.map(loadFile);
  const names = new Map(
    scripts.flatMap(({ models }) => models.map((model) => [model.name, model])),
  );
  const conversations = scripts.flatMap((script) => script.conversations);
  return { models: [...names.values()], conversations };
}

function filesIn(folder: string): string[] {
  const files = readdirSync(folder)
    .sort()
    .map((name) => join(folder, name, "conversation.json"))
    .filter((file) => existsSync(file));
  if (files.length > 0) return files;
  throw new DevmeshError(
    "CONFIG_INVALID",
    `SCRIPTED_PATH: no folder in ${folder} has a conversation.json`,
  );
}

function loadFile(path: string): Script {
  let parsed: unknown;
  try {
    parsed = JSON.parse(readFileSync(path, "utf8"));
  } catch (cause) {
    throw new DevmeshError("CONFIG_INVALID", `SCRIPTED_PATH: ${path} is not readable JSON`, {
      cause,
    });
  }
  return parseScript(parsed);
}

/** Reads a script's value. Throws CONFIG_INVALID with the place of the mistake. */
export function parseScript(value: unknown): Script {
  const root = objectAt(value, "script", ["models", "conversations", "turns"]);
  const conversations = root.conversations ?? [{ turns: root.turns }];
  return {
    models: listAt(root.models ?? [{}], "models").map(parseModel),
    conversations: listAt(conversations, "conversations").map(parseConversation),
  };
}

function parseModel(value: unknown, index: number): ProviderModel {
  const at = `models[${index}]`;
  const row = objectAt(value, at, ["name", "roles", "contextTokens", "dimensions"]);
  const dimensions = numberAt(row.dimensions ?? 0, `${at}.dimensions`);
  const roles = row.roles ?? (dimensions > 0 ? ["embeddings"] : ["chat", "coding"]);
  return {
    name: textAt(row.name ?? "scripted", `${at}.name`),
    roles: listAt(roles, `${at}.roles`).map((role) => roleAt(role, `${at}.roles`)),
    contextTokens: numberAt(row.contextTokens ?? 0, `${at}.contextTokens`),
    dimensions,
    digest: "",
  };
}

function parseConversation(value: unknown, index: number): ScriptConversation {
  const at = `conversations[${index}]`;
  const row = objectAt(value, at, ["when", "turns"]);
  const when = objectAt(row.when ?? {}, `${at}.when`, ["contains", "tools"]);
  return {
    contains: optionalText(when.contains, `${at}.when.contains`),
    tools: when.tools === undefined ? undefined : when.tools === true,
    turns: listAt(row.turns, `${at}.turns`).map((turn, i) => parseTurn(turn, `${at}.turns[${i}]`)),
  };
}

function parseTurn(value: unknown, at: string): ScriptTurn {
  const row = objectAt(value, at, ["when", "pieces", "usage"]);
  const when = objectAt(row.when ?? {}, `${at}.when`, ["lastMessage", "toolResult"]);
  const usage =
    row.usage === undefined
      ? undefined
      : objectAt(row.usage, `${at}.usage`, ["inputTokens", "outputTokens"]);
  return {
    lastMessage: optionalText(when.lastMessage, `${at}.when.lastMessage`),
    toolResult: optionalText(when.toolResult, `${at}.when.toolResult`),
    pieces: listAt(row.pieces, `${at}.pieces`).map((piece, i) =>
      parsePiece(piece, `${at}.pieces[${i}]`),
    ),
    usage: usage && {
      inputTokens: numberAt(usage.inputTokens, `${at}.usage.inputTokens`),
      outputTokens: numberAt(usage.outputTokens, `${at}.usage.outputTokens`),
    },
  };
}

function parsePiece(value: unknown, at: string): ScriptPiece {
  const row = objectAt(value, at, ["text", "toolCall", "fault", "hang"]);
  if (row.text !== undefined) return { type: "text", text: textAt(row.text, `${at}.text`) };
  if (row.hang === true) return { type: "hang" };
  if (row.toolCall !== undefined) {
    const call = objectAt(row.toolCall, `${at}.toolCall`, ["id", "name", "arguments"]);
    const input = call.arguments ?? {};
    return {
      type: "toolCall",
      id: optionalText(call.id, `${at}.toolCall.id`),
      name: textAt(call.name, `${at}.toolCall.name`),
      arguments: typeof input === "string" ? input : JSON.stringify(input),
    };
  }
  const fault = objectAt(row.fault, `${at}.fault`, ["reason", "message", "retryAfterMs"]);
  const reason = textAt(fault.reason, `${at}.fault.reason`);
  if (!isReason(reason)) throw mistake(`${at}.fault.reason`, "an error reason");
  return {
    type: "fault",
    reason,
    message: optionalText(fault.message, `${at}.fault.message`) ?? "a fault of the script",
    retryAfterMs:
      fault.retryAfterMs === undefined
        ? undefined
        : numberAt(fault.retryAfterMs, `${at}.fault.retryAfterMs`),
  };
}

function objectAt(value: unknown, at: string, keys: readonly string[]): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw mistake(at, "an object");
  }
  const unknownKey = Object.keys(value).find((key) => !keys.includes(key));
  if (unknownKey !== undefined) throw mistake(`${at}.${unknownKey}`, `one of ${keys.join(", ")}`);
  return { ...value };
}

function listAt(value: unknown, at: string): readonly unknown[] {
  if (!Array.isArray(value)) throw mistake(at, "a list");
  return value;
}

function textAt(value: unknown, at: string): string {
  if (typeof value !== "string") throw mistake(at, "a text");
  return value;
}

function optionalText(value: unknown, at: string): string | undefined {
  return value === undefined ? undefined : textAt(value, at);
}

function numberAt(value: unknown, at: string): number {
  if (typeof value !== "number" || !(value >= 0)) throw mistake(at, "a number from 0");
  return value;
}

function roleAt(value: unknown, at: string): ModelRole {
  if (value === "chat" || value === "coding" || value === "embeddings") return value;
  throw mistake(at, "chat, coding or embeddings");
}

function mistake(at: string, wants: string): DevmeshError {
  return new DevmeshError("CONFIG_INVALID", `the script is wrong at ${at}: it wants ${wants}`);
}
