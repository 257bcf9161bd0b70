/** How the small models are made known to an Ollama server: their files, template and defaults. */
import { createHash } from "node:crypto";
import { openAsBlob } from "node:fs";
import { basename, join } from "node:path";
import type { ChatModel, SafetensorsModel } from "./models.ts";

/** All that a server needs to create a model. */
export interface Recipe {
  name: string;
  files: { name: string; path: string; sha256: string }[];
  template?: string;
  parameters?: Record<string, unknown>;
}

const createLimitMs = 300_000;
const listLimitMs = 10_000;

/** ChatML. A server takes requests with tools only for a template that shows them. */
const chatml = `{{- if or .System .Tools }}<|im_start|>system
{{ .System }}
{{- if .Tools }}
Answer with one of these tools where it helps, as <tool_call>{"name": …, "arguments": …}</tool_call>:
{{- range .Tools }}
{{ .Function }}
{{- end }}
{{- end }}<|im_end|>
{{ end }}
{{- range .Messages }}
{{- if eq .Role "user" }}<|im_start|>user
{{ .Content }}<|im_end|>
{{ else if eq .Role "assistant" }}<|im_start|>assistant
{{ .Content }}
{{- range .ToolCalls }}<tool_call>{"name": "{{ .Function.Name }}", "arguments": {{ .Function.Arguments }}}</tool_call>
{{- end }}<|im_end|>
{{ else if eq .Role "tool" }}<|im_start|>user
<tool_response>{{ .Content }}</tool_response><|im_end|>
{{ end }}
{{- end }}<|im_start|>assistant
`;

/**
 * Greedy, so that an answer is the same each time, and on one thread, because several threads on
 * busy cores wait for each other.
 */
const defaultParameters = {
  stop: ["<|im_start|>", "<|im_end|>"],
  num_ctx: 4096,
  temperature: 0,
  num_thread: 1,
};

/** A name for the whole of these recipes: it changes with any of them. */
export function recipesKey(recipes: Recipe[]): string {
  const content = recipes.map(({ files, ...rest }) => [rest, files.map(({ sha256 }) => sha256)]);
  return createHash("sha256").update(JSON.stringify(content)).digest("hex").slice(0, 12);
}

/** The chat model, `smollm2`. */
export function chatRecipe({ ggufPath, sha256 }: ChatModel): Recipe {
  return {
    name: "smollm2",
    files: [{ name: basename(ggufPath), path: ggufPath, sha256 }],
    template: chatml,
    parameters: defaultParameters,
  };
}

/** The embedding model, under its own name. */
export function embeddingRecipe({ dir, name, files }: SafetensorsModel): Recipe {
  return {
    name,
    files: files.map(({ path, sha256 }) => ({ name: path, path: join(dir, path), sha256 })),
    parameters: { num_thread: defaultParameters.num_thread },
  };
}

/** The names of the models that the server has, without their tags. */
export async function servedModels(url: string): Promise<string[]> {
  const answer = await fetch(`${url}/api/tags`, { signal: AbortSignal.timeout(listLimitMs) });
  if (!answer.ok) throw new Error(`/api/tags gave ${answer.status}: ${await answer.text()}`);
  const { models } = (await answer.json()) as { models: { name: string }[] };
  return models.map(({ name }) => name.replace(/:.*/, ""));
}

/** Hands the files to the server and lets it make the model. Throws with what it answers. */
export async function createModel(url: string, recipe: Recipe): Promise<void> {
  const { name, files, template, parameters } = recipe;
  for (const { path, sha256 } of files) {
    await post(`${url}/api/blobs/sha256:${sha256}`, await openAsBlob(path));
  }
  const digests = Object.fromEntries(files.map((file) => [file.name, `sha256:${file.sha256}`]));
  const body = { model: name, files: digests, template, parameters, stream: false };
  await post(`${url}/api/create`, JSON.stringify(body));
}

async function post(url: string, body: Blob | string): Promise<void> {
  const signal = AbortSignal.timeout(createLimitMs);
  const answer = await fetch(url, { method: "POST", body, signal });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${new URL(url).pathname} gave ${answer.status}: ${text}`);
}
