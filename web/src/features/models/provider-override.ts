/** Owns where a question may be answered: the choices, and which one the feature flags suggest. */
import type { InferInput } from "@devmesh/sdk";

/** A choice of the console. */
export type Override = "auto" | "local" | "local-first" | "cloud";

/** What each choice is called. */
export const overrideWords: Readonly<Record<Override, string>> = {
  auto: "Auto: the server’s policy",
  local: "Local only",
  "local-first": "Local first, then cloud",
  cloud: "Cloud first",
};

/** The choice at the start, by the flags `localLLMPreferred` and `enableCloudFallback`. */
export function defaultOverride(features: Readonly<Record<string, boolean>>): Override {
  if (features.localLLMPreferred !== true) return "auto";
  return features.enableCloudFallback === true ? "local-first" : "local";
}

/** The choice with a name. */
export function overrideOf(name: string): Override | undefined {
  switch (name) {
    case "auto":
    case "local":
    case "local-first":
    case "cloud":
      return name;
    default:
      return undefined;
  }
}

/** What a choice asks of the server. It narrows the server's policy, never widens it. */
export function toPolicy(override: Override, provider: string): InferInput["policyOverride"] {
  const only = provider === "" ? {} : { provider };
  switch (override) {
    case "auto":
      return provider === "" ? undefined : only;
    case "local":
      return { mode: "local-only", ...only };
    case "local-first":
      return { mode: "local-first", ...only };
    case "cloud":
      return { mode: "cloud-first", ...only };
    default:
      return override satisfies never;
  }
}
