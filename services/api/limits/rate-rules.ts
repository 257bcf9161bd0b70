/**
 * Which calls are limited: each token by all of its calls together and by
 * method, as the settings say. The services of the deployment and its runners
 * are exempt: what they bring is work that was accepted already. So is the
 * change of the settings: a limit that is too low must be undone.
 */
import type { DescMethod, DescService } from "@bufbuild/protobuf";
import type { RateLimit as RateLimitPb, Settings } from "@devmesh/gen/devmesh/api/v1/settings_pb";
import type { Principal } from "@devmesh/mesh/context";
import type { RateLimit, RateRule } from "@devmesh/mesh/interceptors";

/** Answers the buckets of a call; undefined for one that is not limited. */
export class RateLimits {
  #token: RateLimit | undefined;
  #methods = new Map<string, RateLimit>();
  readonly #exempt: readonly (DescService | DescMethod)[];

  /** `exempt`: the contract of the runners, and the method that changes the settings. */
  constructor({ exempt }: { readonly exempt: readonly (DescService | DescMethod)[] }) {
    this.#exempt = exempt;
  }

  /** Takes over the limits of the settings. */
  set({ tokenRate, methodRates }: Pick<Settings, "tokenRate" | "methodRates">): void {
    this.#token = limitOf(tokenRate);
    const rates = Object.entries(methodRates).map(([name, rate]) => [name, limitOf(rate)] as const);
    this.#methods = new Map(
      rates.flatMap(([name, limit]) => (limit === undefined ? [] : [[name, limit] as const])),
    );
  }

  /** The rules of one call. Who is anonymous is limited by address, elsewhere. */
  readonly rulesOf = ({ id }: Principal, method: DescMethod): readonly RateRule[] | undefined => {
    if (this.#token === undefined && this.#methods.size === 0) return undefined;
    if (id === "service" || id === "anonymous") return undefined;
    const { parent, name } = method;
    if (this.#exempt.includes(parent) || this.#exempt.includes(method)) return undefined;
    const rules: RateRule[] = [];
    const what = `${parent.name}.${name}`;
    const limit = this.#methods.get(what);
    // The narrower one first: a call that it refuses costs the token nothing else.
    if (limit !== undefined) rules.push({ name: `${what} ${id}`, limit, what });
    if (this.#token !== undefined) rules.push({ name: id, limit: this.#token, what: "this token" });
    return rules.length === 0 ? undefined : rules;
  };
}

/** 0 a second: no limit. A burst of 0: what one second brings, 1 at least. */
function limitOf(rate: RateLimitPb | undefined): RateLimit | undefined {
  if (rate === undefined || rate.perSecond === 0) return undefined;
  const { perSecond, burst } = rate;
  return { perSecond, burst: burst === 0 ? Math.max(1, Math.floor(perSecond)) : burst };
}
