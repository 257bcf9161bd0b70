/** The secrets that this host may put into requests, from a file that only its owner reads. */
import { readFileSync, statSync } from "node:fs";
import { DevmeshError } from "@devmesh/mesh/errors";
import { hostMatches, isHostName } from "./host-name.ts";

/** A secret and where it may go. */
export interface HostSecret {
  readonly value: string;
  /** Exact, or `*.name`. */
  readonly hosts: readonly string[];
}

/** Secrets by name. */
export type HostSecrets = ReadonlyMap<string, HostSecret>;

/** A host without secrets. */
export const noSecrets: HostSecrets = new Map();

/** Shorter ones could not be told from other text where they are looked for. */
const minSecretLength = 8;

/**
 * Reads `{"NAME": {"value": "…", "hosts": ["api.example.com"]}}`. Throws
 * CONFIG_INVALID, which names what is wrong and never a value.
 */
export function readSecretsFile(path: string): HostSecrets {
  const parsed = parse(path);
  const secrets = new Map<string, HostSecret>();
  for (const [name, entry] of Object.entries(parsed))
    secrets.set(name, toSecret(path, name, entry));
  return secrets;
}

function parse(path: string): object {
  let text: string;
  try {
    const { mode } = statSync(path);
    if ((mode & 0o077) !== 0) throw invalid(path, "others may read it: chmod 600 it");
    text = readFileSync(path, "utf8");
  } catch (error) {
    if (error instanceof DevmeshError) throw error;
    throw invalid(path, "cannot be read", error);
  }
  try {
    const parsed: unknown = JSON.parse(text);
    if (typeof parsed === "object" && parsed !== null && !Array.isArray(parsed)) return parsed;
  } catch {
    // The parser's message would show a piece of the file.
  }
  throw invalid(path, "is not a JSON object");
}

function toSecret(path: string, name: string, entry: unknown): HostSecret {
  if (!/^[A-Za-z_][A-Za-z0-9_.-]{0,63}$/.test(name)) {
    throw invalid(path, `${JSON.stringify(name)} is no name for a secret`);
  }
  const { value, hosts }: { value?: unknown; hosts?: unknown } =
    typeof entry === "object" && entry !== null ? entry : {};
  if (typeof value !== "string" || !/^[\x20-\x7e]+$/.test(value)) {
    throw invalid(path, `${name}.value wants a text of printable ASCII`);
  }
  if (value.length < minSecretLength) {
    throw invalid(path, `${name}.value is shorter than ${minSecretLength} characters`);
  }
  const isList = Array.isArray(hosts) && hosts.length > 0;
  if (!isList || !hosts.every((host) => typeof host === "string" && isPattern(host))) {
    throw invalid(path, `${name}.hosts wants hosts, as ["api.example.com", "*.example.org"]`);
  }
  return { value, hosts: hosts.map(String) };
}

function isPattern(host: string): boolean {
  return isHostName(host.startsWith("*.") ? host.slice(2) : host);
}

/** True if the secret may go to every host that the rule's host stands for. */
export function mayGoTo({ hosts }: HostSecret, ruleHost: string): boolean {
  return hosts.some((pattern) => {
    if (pattern === ruleHost) return true;
    if (!ruleHost.startsWith("*.")) return hostMatches(pattern, ruleHost);
    return pattern.startsWith("*.") && ruleHost.endsWith(pattern.slice(1));
  });
}

function invalid(path: string, detail: string, cause?: unknown): DevmeshError {
  return new DevmeshError("CONFIG_INVALID", `EGRESS_SECRETS_FILE: ${path}: ${detail}`, { cause });
}
