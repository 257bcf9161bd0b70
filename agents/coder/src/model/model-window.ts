/** Owns finding out how much the model can take, before it is asked anything. */
import { errorText } from "../text.ts";
import type { BackendHttp } from "./backend-http.ts";
import { ModelError } from "./model-error.ts";

/** A model as the backend lists it. */
export interface ListedModel {
  readonly provider: string;
  readonly name: string;
  readonly roles: readonly string[];
  /** The widest window that it can have, in tokens. 0: unknown. */
  readonly window: number;
  /** `native`, `none`, or empty where nobody knows. */
  readonly toolCalls: string;
}

/** What is known of the model that will answer. */
export interface ModelFacts {
  /** The window to ask for, in tokens. 0: the model's own. */
  readonly contextTokens: number;
  /** The most bytes of a conversation that fit into it. Infinity: unknown. */
  readonly maxBytes: number;
  /** False if every model that may answer is known to take no tools. */
  readonly hasToolCalls: boolean;
}

/** What a task needs of a window. */
export interface WindowNeeds {
  /** Tokens of the first question, tools and all. */
  readonly promptTokens: number;
  /** Tokens of the largest conversation that is wanted. */
  readonly wantedTokens: number;
}

/** Room for an answer and a few results; below that no step can be done. */
const roomTokens = 1536;

/** Of a window so many bytes are text; code has fewer letters to a token than prose. */
const bytesPerToken = 3;

/** What the backend lists; undefined where it does not say. */
export async function listModels(
  http: BackendHttp,
  signal: AbortSignal,
): Promise<readonly ListedModel[] | undefined> {
  try {
    const response = await http.get("/v1/llm/models", signal);
    const body: unknown = await response.json();
    if (!response.ok || !isRow(body) || !Array.isArray(body.models)) return undefined;
    return body.models.filter(isRow).map(toModel);
  } catch (error) {
    signal.throwIfAborted();
    // A backend that cannot tell is asked all the same; it refuses by itself what is too long.
    void errorText(error);
    return undefined;
  }
}

/**
 * The window to work in. Throws `ModelError` CONTEXT_LENGTH that names the model,
 * if every one that may answer is too small.
 */
export function chooseWindow(
  model: string,
  listed: readonly ListedModel[] | undefined,
  { promptTokens, wantedTokens }: WindowNeeds,
): ModelFacts {
  const candidates = (listed ?? []).filter((one) => isMeant(model, one));
  const hasToolCalls =
    candidates.length === 0 || candidates.some(({ toolCalls }) => toolCalls !== "none");
  const needed = promptTokens + roomTokens;
  const fitting = candidates.filter(({ window }) => window === 0 || window >= needed);
  if (candidates.length > 0 && fitting.length === 0) throw tooSmall(candidates, needed);
  const known = fitting.map(({ window }) => window).filter((window) => window > 0);
  if (known.length === 0) return { contextTokens: 0, maxBytes: Infinity, hasToolCalls };
  // Each that may answer must have it: the smallest of those that fit.
  const contextTokens = Math.min(Math.max(wantedTokens, needed), ...known);
  const maxBytes = Math.max(1, (contextTokens - roomTokens) * bytesPerToken);
  return { contextTokens, maxBytes, hasToolCalls };
}

/** An upper estimate of the tokens of a text. */
export function estimateTokens(text: string): number {
  return Math.ceil(Buffer.byteLength(text) / bytesPerToken);
}

function tooSmall(candidates: readonly ListedModel[], needed: number): ModelError {
  const widest = candidates.reduce((a, b) => (b.window > a.window ? b : a));
  const name = `${widest.provider}/${widest.name}`;
  return new ModelError(
    `CONTEXT_LENGTH: the model ${name} has a window of ${widest.window} tokens, and this task needs at least ${needed}; choose a model with a wider window, or give less context`,
    { reason: "CONTEXT_LENGTH", retryable: false },
  );
}

function isMeant(model: string, { provider, name, roles }: ListedModel): boolean {
  if (model === "chat" || model === "coding") return roles.includes(model);
  return model === `${provider}/${name}` || model === name;
}

function toModel(row: Readonly<Record<string, unknown>>): ListedModel {
  const text = (value: unknown) => (typeof value === "string" ? value : "");
  const count = (value: unknown) => (typeof value === "number" ? value : 0);
  const roles = Array.isArray(row.roles) ? row.roles.map(text) : [];
  const window = Math.max(count(row.maxContextTokens), count(row.contextTokens));
  return {
    provider: text(row.provider),
    name: text(row.name),
    roles,
    window,
    toolCalls: text(row.toolCalls),
  };
}

function isRow(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
