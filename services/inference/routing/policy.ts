/**
 * Where a request may be answered. Owns the rule that a request narrows the
 * server's policy and never widens it; who can answer is left to `registry.ts`.
 */

/** From the narrowest to the widest. */
export const policyModes = ["local-only", "local-first", "cloud-first"] as const;

/** `local-only`: nothing leaves. `local-first`, `cloud-first`: who is asked first. */
export type PolicyMode = (typeof policyModes)[number];

/** The server's policy. */
export interface Policy {
  readonly mode: PolicyMode;
  /** Whether a cloud may stand in for local providers. Default: true. */
  readonly enableCloudFallback: boolean;
}

/** What the config says. */
export interface PolicyConfig {
  /** Undefined: what `localLlmPreferred` says. */
  readonly mode: PolicyMode | undefined;
  /** True for `local-first`, false for `cloud-first`. Undefined: true. */
  readonly localLlmPreferred: boolean | undefined;
  readonly enableCloudFallback: boolean;
}

/** What a request asks for. Empty texts: the server's policy, any provider. */
export interface PolicyOverride {
  readonly mode: PolicyMode | "";
  readonly provider: string;
}

/** The policy of one request. */
export interface EffectivePolicy extends Policy {
  /** Only this provider. Empty: any. */
  readonly provider: string;
}

/** No wish of the request's own. */
export const noOverride: PolicyOverride = { mode: "", provider: "" };

/** The server's policy of a config. An explicit mode wins. */
export function policyOf(config: PolicyConfig): Policy {
  const preferred = config.localLlmPreferred === false ? "cloud-first" : "local-first";
  return { mode: config.mode ?? preferred, enableCloudFallback: config.enableCloudFallback };
}

/** The server's policy as narrowed by a request: the narrower mode of the two. */
export function narrowed(policy: Policy, override: PolicyOverride): EffectivePolicy {
  const asked = override.mode === "" ? policy.mode : override.mode;
  const mode =
    policyModes[Math.min(policyModes.indexOf(asked), policyModes.indexOf(policy.mode))] ??
    "local-only";
  return { mode, enableCloudFallback: policy.enableCloudFallback, provider: override.provider };
}

/** Who might answer. */
export interface PolicySubject {
  readonly name: string;
  readonly local: boolean;
}

/**
 * Whether this provider may see the request at all. `explicit`: the request
 * named the provider itself, so that asking it is no fallback.
 */
export function permits(
  policy: EffectivePolicy,
  subject: PolicySubject,
  explicit: boolean,
): boolean {
  if (policy.provider !== "" && policy.provider !== subject.name) return false;
  if (subject.local) return true;
  switch (policy.mode) {
    case "local-only":
      return false;
    case "local-first":
      return policy.enableCloudFallback || explicit || policy.provider === subject.name;
    case "cloud-first":
      return true;
    default:
      return policy.mode satisfies never;
  }
}

/** The same subjects in the order in which they are asked; the order given breaks ties. */
export function ordered<T extends PolicySubject>(
  policy: EffectivePolicy,
  subjects: readonly T[],
): T[] {
  const cloudFirst = policy.mode === "cloud-first";
  return [
    ...subjects.filter((subject) => subject.local !== cloudFirst),
    ...subjects.filter((subject) => subject.local === cloudFirst),
  ];
}
