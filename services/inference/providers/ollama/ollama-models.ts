/**
 * What an Ollama server has: names, digests, windows and roles. Details are
 * asked once for each digest and kept.
 */
import type { ListResponse, ShowResponse } from "ollama";
import type { ModelRole, ProviderModel } from "../provider.ts";
import { ollamaFor } from "./ollama-client.ts";

/** The window that is set where neither the model's file nor the caller says one. */
const defaultWindow = 8192;

/** The models of one server. */
export class OllamaModels {
  readonly #baseUrl: string;
  readonly #maxContextTokens: number;
  readonly #byDigest = new Map<string, Promise<ProviderModel>>();
  #listed = new Map<string, ProviderModel>();

  constructor(options: { baseUrl: string; maxContextTokens: number | undefined }) {
    this.#baseUrl = options.baseUrl;
    this.#maxContextTokens = options.maxContextTokens ?? defaultWindow;
  }

  /** Asks the server. */
  async list(signal?: AbortSignal): Promise<readonly ProviderModel[]> {
    const { models } = await ollamaFor({ baseUrl: this.#baseUrl, model: "", signal }).list();
    const listed = await Promise.all(models.map((model) => this.#details(model, signal)));
    this.#listed = new Map(listed.map((model) => [fullName(model.name), model]));
    const digests = new Set(models.map((model) => model.digest));
    for (const digest of this.#byDigest.keys()) {
      if (!digests.has(digest)) this.#byDigest.delete(digest);
    }
    return listed;
  }

  /** What is known of a model; asks the server only if it was never listed. */
  async get(name: string, signal?: AbortSignal): Promise<ProviderModel | undefined> {
    const known = this.#listed.get(fullName(name));
    if (known !== undefined) return known;
    await this.list(signal);
    return this.#listed.get(fullName(name));
  }

  #details(model: ListResponse["models"][number], signal?: AbortSignal): Promise<ProviderModel> {
    const known = this.#byDigest.get(model.digest);
    const name = shortName(model.name);
    if (known !== undefined) return known.then((found) => ({ ...found, name }));
    const asked = ollamaFor({ baseUrl: this.#baseUrl, model: name, signal })
      .show({ model: model.name })
      .then((shown) => toProviderModel(name, model.digest, shown, this.#maxContextTokens));
    this.#byDigest.set(model.digest, asked);
    // A failed look-up is asked again next time.
    asked.catch(() => this.#byDigest.delete(model.digest));
    return asked;
  }
}

/** `name:latest` and `name` are one model. */
function shortName(name: string): string {
  return name.endsWith(":latest") ? name.slice(0, -":latest".length) : name;
}

function fullName(name: string): string {
  return name.includes(":") ? name : `${name}:latest`;
}

function toProviderModel(
  name: string,
  digest: string,
  shown: ShowResponse,
  maxContextTokens: number,
): ProviderModel {
  const facts: Record<string, unknown> = { ...shown.model_info };
  const trained = numberAt(facts, ".context_length");
  const dimensions = numberAt(facts, ".embedding_length");
  const capabilities = shown.capabilities ?? [];
  const embeds =
    capabilities.includes("embedding") || /bert/.test(String(facts["general.architecture"]));
  const set = Number(/^num_ctx\s+(\d+)/m.exec(shown.parameters ?? "")?.[1] ?? 0);
  const window = set > 0 ? set : Math.min(trained || maxContextTokens, maxContextTokens);
  return {
    name,
    digest,
    roles: rolesOf(name, embeds),
    contextTokens: embeds ? trained || window : window,
    // A window that the model's file sets is the operator's choice; else it may be as wide as trained.
    maxContextTokens: embeds || set > 0 ? window : Math.max(trained, window),
    ...(!embeds &&
      capabilities.length > 0 && {
        toolCalls: capabilities.includes("tools") ? "native" : "none",
      }),
    dimensions: embeds ? dimensions : 0,
  };
}

function rolesOf(name: string, embeds: boolean): readonly ModelRole[] {
  if (embeds) return ["embeddings"];
  return /cod(e|er|ing|estral)|devstral|starcoder/i.test(name) ? ["coding", "chat"] : ["chat"];
}

function numberAt(facts: Record<string, unknown>, suffix: string): number {
  const key = Object.keys(facts).find((name) => name.endsWith(suffix));
  const value = key === undefined ? undefined : facts[key];
  return typeof value === "number" ? value : 0;
}
