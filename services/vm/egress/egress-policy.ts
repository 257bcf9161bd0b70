/** A job's network policy as the proxy asks it. Names, addresses and bytes are left to others. */
import type { EgressRule, NetworkPolicy } from "@devmesh/gen/devmesh/api/v1/network_policy_pb";
import { DevmeshError } from "@devmesh/mesh/errors";
import { type HostSecrets, mayGoTo } from "./egress-secrets.ts";
import { hostMatches, isHostName } from "./host-name.ts";
import type { RefusalWhy } from "./refusal.ts";
import { normalPath } from "./request-path.ts";

/** A header that the proxy sets. */
export interface SecretHeader {
  /** In lower case. */
  readonly name: string;
  /** With its prefix. */
  readonly value: string;
  /** The secret alone, which the sandbox must not get to see. */
  readonly secret: string;
}

/** A rule, ready to be asked. */
interface Rule {
  readonly host: string;
  readonly port: number;
  readonly isPlain: boolean;
  /** Empty: all. */
  readonly methods: ReadonlySet<string>;
  /** Empty: all. */
  readonly paths: readonly string[];
  readonly secrets: readonly SecretHeader[];
}

/** What a request is told. */
export type RequestVerdict =
  | { readonly why: RefusalWhy; readonly detail: string }
  | { readonly why: undefined; readonly secrets: readonly SecretHeader[] };

/** The rules that hold for one destination. */
export class DestinationRules {
  readonly #rules: readonly Rule[];

  constructor(rules: readonly Rule[]) {
    this.#rules = rules;
  }

  /** True if plain HTTP is spoken to it. */
  get isPlain(): boolean {
    return this.#rules.some(({ isPlain }) => isPlain);
  }

  /** True if requests must be seen one by one. */
  get looksInside(): boolean {
    return this.#rules.some(
      ({ methods, paths, secrets, isPlain }) =>
        isPlain || methods.size > 0 || paths.length > 0 || secrets.length > 0,
    );
  }

  /** Judges one request by its method and its path as it came. */
  judge(method: string, path: string): RequestVerdict {
    const normal = normalPath(path);
    const ofMethod = this.#rules.filter(({ methods }) => methods.size === 0 || methods.has(method));
    if (ofMethod.length === 0) {
      return { why: "METHOD_NOT_ALLOWED", detail: `no rule allows ${method} there` };
    }
    const matching = ofMethod.filter(
      ({ paths }) =>
        paths.length === 0 ||
        (normal !== undefined && paths.some((start) => normal.startsWith(start))),
    );
    if (matching.length === 0) {
      if (normal === undefined) {
        return { why: "AMBIGUOUS_PATH", detail: "the path can be read in more than one way" };
      }
      return { why: "PATH_NOT_ALLOWED", detail: `no rule allows ${method} of this path` };
    }
    return { why: undefined, secrets: matching.flatMap(({ secrets }) => secrets) };
  }
}

/** A whole policy. */
export class EgressPolicy {
  readonly #rules: readonly Rule[];

  /**
   * Throws INVALID_FIELD for a rule that no proxy can keep, and EGRESS_REFUSED
   * for a secret that this host does not have, or not for that destination.
   */
  constructor({ allow }: NetworkPolicy, secrets: HostSecrets) {
    this.#rules = allow.map((rule, index) => toRule(rule, `network.allow[${index}]`, secrets));
  }

  /** True if some rule needs the proxy to end TLS itself. */
  get endsTls(): boolean {
    return this.#rules.some((rule) => !rule.isPlain && new DestinationRules([rule]).looksInside);
  }

  /** What holds for a destination; undefined if no rule has it. */
  rulesFor(host: string, port: number): DestinationRules | undefined {
    const rules = this.#rules.filter((rule) => rule.port === port && hostMatches(rule.host, host));
    return rules.length === 0 ? undefined : new DestinationRules(rules);
  }
}

/** The port that a rule without one means. */
export function portOf({ port, plainHttp }: Pick<EgressRule, "port" | "plainHttp">): number {
  if (port !== 0) return port;
  return plainHttp ? 80 : 443;
}

function toRule(rule: EgressRule, field: string, secrets: HostSecrets): Rule {
  const name = rule.host.startsWith("*.") ? rule.host.slice(2) : rule.host;
  if (!isHostName(name)) throw broken(`${field}.host`, "is no host's name");
  rule.paths.forEach((path, index) => {
    if (normalPath(path) === path) return;
    throw broken(`${field}.paths[${index}]`, "can be read in more than one way");
  });
  if (rule.plainHttp && rule.secrets.length > 0) {
    throw broken(`${field}.secrets`, "a secret never goes over plain HTTP");
  }
  return {
    host: rule.host,
    port: portOf(rule),
    isPlain: rule.plainHttp,
    methods: new Set(rule.methods),
    paths: rule.paths,
    secrets: rule.secrets.map(({ header, secret, prefix }, index) => {
      const found = secrets.get(secret);
      const place = `${field}.secrets[${index}].secret`;
      if (found === undefined) {
        throw refused(place, rule, `this host has no secret ${secret}`);
      }
      if (!mayGoTo(found, rule.host)) {
        throw refused(place, rule, `the secret ${secret} is not for ${rule.host}`);
      }
      return { name: header.toLowerCase(), value: prefix + found.value, secret: found.value };
    }),
  };
}

function broken(field: string, detail: string): DevmeshError {
  return new DevmeshError("INVALID_FIELD", `${field}: ${detail}`, { metadata: { field } });
}

function refused(field: string, rule: EgressRule, detail: string): DevmeshError {
  const metadata = { field, host: rule.host, port: String(portOf(rule)), why: "NO_SECRET" };
  return new DevmeshError("EGRESS_REFUSED", `${field}: ${detail}`, { metadata });
}
