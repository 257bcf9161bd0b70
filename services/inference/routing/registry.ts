/**
 * Who there is: the configured providers, their models, and the models of each
 * role. Turns a model's name into candidates; asking them is left to
 * `router.ts`.
 */
import { DevmeshError } from "@devmesh/mesh/errors";
import type { Clock } from "@devmesh/mesh/runtime";
import type { ModelRole, Provider, ProviderModel } from "../providers/provider.ts";
import { ModelCache, type ProviderHealth } from "./model-cache.ts";
import { type ModelName, parseModelName } from "./model-name.ts";
import { type EffectivePolicy, ordered, permits } from "./policy.ts";

/** Who might answer, and why it is considered. */
export interface Candidate {
  readonly provider: Provider;
  /** The model's name there. */
  readonly model: string;
  readonly why: string;
  /** The widest window it can have, in tokens. 0: unknown. */
  readonly windowTokens: number;
}

/** What a registry is made from. */
export interface RegistryOptions {
  /** In the order in which equals are asked. */
  readonly providers: readonly Provider[];
  /** Names for each role, in their order; empty: every model that says it has the role. */
  readonly roles: Readonly<Record<ModelRole, readonly string[]>>;
  readonly clock: Clock;
  /** How long a list of models counts as fresh. Default: 30,000. */
  readonly modelsTtlMs?: number;
}

/** A provider as `ListModels` shows it. */
export interface ProviderStatus extends ProviderHealth {
  readonly provider: Provider;
  readonly models: readonly ProviderModel[];
}

interface Entry {
  readonly provider: Provider;
  readonly name: string;
  readonly local: boolean;
  readonly cache: ModelCache;
}

/** The configured providers. */
export class Registry {
  readonly #entries: readonly Entry[];
  readonly #roles: RegistryOptions["roles"];

  constructor({ providers, roles, clock, modelsTtlMs = 30_000 }: RegistryOptions) {
    this.#roles = roles;
    this.#entries = providers.map((provider) => ({
      provider,
      name: provider.name,
      local: provider.local,
      cache: new ModelCache({ provider, clock, ttlMs: modelsTtlMs }),
    }));
  }

  /**
   * Who may answer, in the order in which they are to be asked. A provider that
   * the policy forbids is neither listed nor asked anything. Throws
   * POLICY_REFUSED if only the policy stands in the way, NO_EMBEDDER or
   * MODEL_NOT_FOUND if nobody serves the model.
   */
  async candidates(
    text: string,
    fallback: ModelRole,
    policy: EffectivePolicy,
  ): Promise<readonly Candidate[]> {
    const name = parseModelName(text, fallback);
    const found =
      name.type === "role" && this.#roles[name.role].length > 0
        ? await this.#configured(name.role, policy)
        : await this.#named(name, policy);
    if (found.candidates.length > 0) return found.candidates;
    if (found.forbidden) {
      throw new DevmeshError(
        "POLICY_REFUSED",
        `the policy ${policy.mode} forbids every provider that could answer ${JSON.stringify(text || fallback)}`,
        { metadata: { mode: policy.mode, model: text || fallback } },
      );
    }
    if (found.failure !== undefined) throw found.failure;
    if (fallback === "embeddings" && name.type === "role") {
      throw new DevmeshError("NO_EMBEDDER", "no embedding model is configured or reachable");
    }
    throw new DevmeshError(
      "MODEL_NOT_FOUND",
      `no provider serves the model ${JSON.stringify(text || fallback)}`,
      { metadata: { model: text || fallback } },
    );
  }

  /** Every provider with its models, local ones first; those that are down have none. */
  async status(): Promise<readonly ProviderStatus[]> {
    const entries = [...this.#entries].sort((a, b) => Number(b.local) - Number(a.local));
    return Promise.all(
      entries.map(async ({ provider, cache }) => {
        const models = await cache.get().catch(() => []);
        return { provider, models, ...cache.health };
      }),
    );
  }

  /** Asks every provider now, and says how each is. Never throws. */
  async check(): Promise<readonly (ProviderHealth & { readonly name: string })[]> {
    return Promise.all(
      this.#entries.map(async ({ name, cache }) => {
        await cache.refresh().catch(() => {});
        return { name, ...cache.health };
      }),
    );
  }

  /** Ends all providers. */
  async close(): Promise<void> {
    await Promise.all(this.#entries.map(({ provider }) => provider.close()));
  }

  async #configured(role: ModelRole, policy: EffectivePolicy): Promise<Found> {
    const all: Found[] = [];
    for (const text of this.#roles[role]) {
      all.push(await this.#named(parseModelName(text, role), policy, role));
    }
    const byLocality = ordered(
      policy,
      all
        .flatMap((found) => found.candidates)
        .map((candidate) => ({
          candidate,
          name: candidate.provider.name,
          local: candidate.provider.local,
        })),
    );
    return {
      candidates: byLocality.map(({ candidate }) => candidate),
      forbidden: all.some((found) => found.forbidden),
      failure: all.find((found) => found.failure !== undefined)?.failure,
    };
  }

  /** `role`: the name stands for it in the config, so that asking a cloud is a fallback. */
  async #named(name: ModelName, policy: EffectivePolicy, role?: ModelRole): Promise<Found> {
    if (name.type === "exact") {
      const entry = this.#entries.find((one) => one.name === name.provider);
      if (entry === undefined) return nobody;
      if (!permits(policy, entry, role === undefined)) return { ...nobody, forbidden: true };
      const why = role === undefined ? "named by the request" : `configured for ${role}`;
      return {
        ...nobody,
        candidates: [
          {
            provider: entry.provider,
            model: name.model,
            why: whyIn(policy, why),
            windowTokens: windowOf(entry.cache.known?.find((model) => model.name === name.model)),
          },
        ],
      };
    }
    const allowed = ordered(
      policy,
      this.#entries.filter((entry) => permits(policy, entry, false)),
    );
    const forbidden = name.type === "role" && allowed.length === 0 && this.#entries.length > 0;
    const lists = await Promise.all(allowed.map((entry) => this.#matching(entry, name)));
    return {
      candidates: allowed.flatMap(({ provider }, index) =>
        (lists[index]?.models ?? []).map((model) => ({
          provider,
          model: model.name,
          why: whyIn(policy, name.type === "role" ? `has the role ${name.role}` : "has the model"),
          windowTokens: windowOf(model),
        })),
      ),
      forbidden,
      failure: lists.find((list) => list.failure !== undefined)?.failure,
    };
  }

  async #matching(entry: Entry, name: Exclude<ModelName, { type: "exact" }>) {
    try {
      const models = entry.cache.known ?? (await entry.cache.get());
      const matches = models.filter((model) =>
        name.type === "role" ? model.roles.includes(name.role) : model.name === name.model,
      );
      return { models: matches, failure: undefined };
    } catch (error) {
      // A provider that is down is no candidate; it is why nobody is, if nobody else is.
      return { models: [], failure: error instanceof DevmeshError ? error : undefined };
    }
  }
}

interface Found {
  readonly candidates: readonly Candidate[];
  /** True if the policy kept somebody out who could have answered. */
  readonly forbidden: boolean;
  readonly failure: DevmeshError | undefined;
}

const nobody: Found = { candidates: [], forbidden: false, failure: undefined };

function windowOf(model: ProviderModel | undefined): number {
  return Math.max(model?.contextTokens ?? 0, model?.maxContextTokens ?? 0);
}

function whyIn(policy: EffectivePolicy, why: string): string {
  return `${policy.mode}: ${why}`;
}
