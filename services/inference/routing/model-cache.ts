/**
 * What a provider's models are, asked rarely: a request never waits for a list
 * that was had before. Stale lists are answered while a new one is fetched.
 */
import { type DevmeshError, toDevmeshError } from "@devmesh/mesh/errors";
import type { Clock } from "@devmesh/mesh/runtime";
import type { Provider, ProviderModel } from "../providers/provider.ts";

/** How a provider was when it was last asked. */
export interface ProviderHealth {
  readonly healthy: boolean;
  /** Why not. Empty if it is. */
  readonly detail: string;
}

/** The models of one provider. */
export class ModelCache {
  readonly #provider: Provider;
  readonly #clock: Clock;
  readonly #ttlMs: number;
  #models: readonly ProviderModel[] | undefined;
  #askedAt = 0;
  #asking: Promise<readonly ProviderModel[]> | undefined;
  #failure: DevmeshError | undefined;

  constructor(options: { provider: Provider; clock: Clock; ttlMs: number }) {
    this.#provider = options.provider;
    this.#clock = options.clock;
    this.#ttlMs = options.ttlMs;
  }

  /** The models if they were ever had; a stale list is renewed behind the answer. */
  get known(): readonly ProviderModel[] | undefined {
    if (this.#models !== undefined && this.#isStale()) this.#ask().catch(() => {});
    return this.#models;
  }

  /** The models; waits only if there was never a list. Throws what the provider throws. */
  async get(): Promise<readonly ProviderModel[]> {
    return this.known ?? this.#failedLately() ?? (await this.#ask());
  }

  /** Asks the provider now. Throws what it throws. */
  async refresh(): Promise<readonly ProviderModel[]> {
    return await this.#ask();
  }

  /** How the last asking went; healthy if it was never asked. */
  get health(): ProviderHealth {
    return { healthy: this.#failure === undefined, detail: this.#failure?.message ?? "" };
  }

  /** A provider that just failed is not asked again by every request. */
  #failedLately(): never | undefined {
    if (this.#failure !== undefined && !this.#isStale()) throw this.#failure;
    return undefined;
  }

  #isStale(): boolean {
    return this.#clock.now() - this.#askedAt >= this.#ttlMs;
  }

  #ask(): Promise<readonly ProviderModel[]> {
    this.#asking ??= this.#provider
      .listModels()
      .then(
        (models) => {
          this.#models = models;
          this.#failure = undefined;
          return models;
        },
        (error: unknown) => {
          this.#failure = toDevmeshError(error);
          throw this.#failure;
        },
      )
      .finally(() => {
        this.#askedAt = this.#clock.now();
        this.#asking = undefined;
      });
    return this.#asking;
  }
}
