/** How a request names a model: a role, `provider/name`, or a name. */
import type { ModelRole } from "../providers/provider.ts";

/** A model's name as a request meant it. */
export type ModelName =
  | { readonly type: "role"; readonly role: ModelRole }
  | { readonly type: "exact"; readonly provider: string; readonly model: string }
  | { readonly type: "name"; readonly model: string };

/** Every provider that devmesh knows, configured or not. */
const providerNames = ["ollama", "embedded", "scripted", "openai", "anthropic"] as const;

/** Reads a name. Empty: the role `fallback`. A slash after an unknown word is part of the name. */
export function parseModelName(text: string, fallback: ModelRole): ModelName {
  if (text === "") return { type: "role", role: fallback };
  if (text === "chat" || text === "coding" || text === "embeddings") {
    return { type: "role", role: text };
  }
  const slash = text.indexOf("/");
  const provider = text.slice(0, Math.max(slash, 0));
  const model = text.slice(slash + 1);
  if (model !== "" && providerNames.some((name) => name === provider)) {
    return { type: "exact", provider, model };
  }
  return { type: "name", model: text };
}
