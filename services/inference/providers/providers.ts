/** Makes the configured providers, in the order in which equals are asked. */
import type { Clock } from "@devmesh/mesh/runtime";
import type { InferenceConfig } from "../config.ts";
import { EmbeddedProvider } from "./embedded/embedded-provider.ts";
import { OpenAiProvider } from "./openai/openai-provider.ts";
import type { Provider } from "./provider.ts";
import { loadScript } from "./scripted/script.ts";
import { ScriptedProvider } from "./scripted/scripted-provider.ts";

/**
 * The providers of a config. Under `local-only` no cloud provider is even made.
 * What brings a large package with it is loaded only where it is configured.
 */
export async function buildProviders(
  { scriptedPath, ollamaBaseUrl, embedded, cloud, policy, limits }: InferenceConfig,
  clock: Clock,
): Promise<readonly Provider[]> {
  const providers: Provider[] = [];
  if (scriptedPath !== undefined) {
    providers.push(new ScriptedProvider({ script: loadScript(scriptedPath) }));
  }
  if (ollamaBaseUrl !== undefined) {
    const { OllamaProvider } = await import("./ollama/ollama-provider.ts");
    providers.push(new OllamaProvider({ baseUrl: ollamaBaseUrl }));
  }
  if (embedded.chatModelPath !== undefined || embedded.embeddingModelPath !== undefined) {
    providers.push(new EmbeddedProvider({ clock, ...embedded }));
  }
  if (policy.mode === "local-only") return providers;
  const timeoutMs = limits.firstTokenTimeoutMs;
  const { baseUrl, openAiKey, anthropicKey } = cloud;
  if (openAiKey !== undefined) {
    const target = baseUrl === undefined ? {} : { baseUrl };
    providers.push(new OpenAiProvider({ apiKey: openAiKey, timeoutMs, ...target }));
  }
  if (anthropicKey !== undefined) {
    const { AnthropicProvider } = await import("./anthropic/anthropic-provider.ts");
    providers.push(new AnthropicProvider({ apiKey: anthropicKey, timeoutMs }));
  }
  return providers;
}
