/** Whether a job's network policy makes sense: what contradicts itself is refused when the job is made. */
import type { JobSpec } from "@devmesh/gen/devmesh/api/v1/job_pb";
import type { EgressRule } from "@devmesh/gen/devmesh/api/v1/network_policy_pb";
import { invalidField } from "@devmesh/mesh/errors";

/** Headers that say how a request is framed and where it goes; the proxy writes them itself. */
const ownHeaders: ReadonlySet<string> = new Set([
  ...["host", "content-length", "transfer-encoding", "connection", "keep-alive", "te", "trailer"],
  ...["upgrade", "expect", "proxy-authorization", "proxy-connection", "accept-encoding"],
]);

/** Throws INVALID_FIELD, which names the rule and its field. */
export function requireNetwork({ network }: JobSpec): void {
  const rules = network?.allow ?? [];
  rules.forEach((rule, index) => {
    const field = `spec.network.allow[${index}]`;
    requireRule(rule, field);
    rules.forEach((other, at) => {
      if (at < index) requireNew(rule, other, field, `allow[${at}]`);
      if (at !== index) requireBoth(rule, other, field, `allow[${at}]`);
    });
  });
}

function requireRule(rule: EgressRule, field: string): void {
  const port = portOf(rule);
  if (rule.plainHttp && port === 443) {
    throw invalidField(
      `${field}.plainHttp`,
      "port 443 speaks TLS: leave it out, or name another port",
    );
  }
  if (!rule.plainHttp && port === 80) {
    throw invalidField(
      `${field}.port`,
      "port 80 speaks plain HTTP: say plainHttp, or name another port",
    );
  }
  rule.methods.forEach((method, index) => {
    if (method !== "CONNECT" && method !== "TRACE") return;
    throw invalidField(`${field}.methods[${index}]`, `${method} is never passed on`);
  });
  rule.paths.forEach((path, index) => {
    if (!isPlainPath(path)) {
      throw invalidField(
        `${field}.paths[${index}]`,
        "can be read in more than one way: no `.`, `..` or empty parts, no query, no `%`",
      );
    }
    if (rule.paths.indexOf(path) !== index) {
      throw invalidField(`${field}.paths[${index}]`, `${path} is there already`);
    }
  });
  requireSecrets(rule, field);
}

function requireSecrets({ secrets, plainHttp }: EgressRule, field: string): void {
  if (secrets.length > 0 && plainHttp) {
    throw invalidField(`${field}.secrets`, "a secret never goes over plain HTTP");
  }
  const names = secrets.map(({ header }) => header.toLowerCase());
  secrets.forEach(({ prefix }, index) => {
    const name = names[index] ?? "";
    const place = `${field}.secrets[${index}]`;
    if (ownHeaders.has(name)) {
      throw invalidField(
        `${place}.header`,
        `${name} is the proxy's own: a secret cannot stand there`,
      );
    }
    if (names.indexOf(name) !== index) {
      throw invalidField(`${place}.header`, `${name} has a secret already`);
    }
    if (!/^[ -~]*$/.test(prefix)) {
      throw invalidField(`${place}.prefix`, "has characters that no header takes");
    }
  });
}

/** A rule that is there twice is one whose copy was meant to be something else. */
function requireNew(rule: EgressRule, earlier: EgressRule, field: string, at: string): void {
  if (meaningOf(rule) === meaningOf(earlier)) {
    throw invalidField(field, `says what ${at} says: leave one of them out`);
  }
}

/** The same text for rules that allow the same. */
function meaningOf(rule: EgressRule): string {
  const { host, methods, paths, secrets, plainHttp } = rule;
  const put = secrets.map(({ header, secret, prefix }) => [header.toLowerCase(), secret, prefix]);
  const lists = [methods.toSorted(), paths.toSorted(), put.map(String).toSorted()];
  return JSON.stringify([host, portOf(rule), plainHttp, ...lists]);
}

/** Two rules that may meet in one request. */
function requireBoth(rule: EgressRule, other: EgressRule, field: string, at: string): void {
  if (portOf(rule) !== portOf(other) || !covers(other.host, rule.host)) return;
  if (rule.plainHttp !== other.plainHttp) {
    throw invalidField(`${field}.plainHttp`, `${at} says the opposite of the same host and port`);
  }
  const isBound = rule.methods.length > 0 || rule.paths.length > 0;
  const isOpen = other.methods.length === 0 && other.paths.length === 0;
  if (isBound && isOpen && rule.secrets.length === 0) {
    throw invalidField(field, `${at} allows all of the same host and port: it has no effect`);
  }
  const taken = new Map(other.secrets.map((one) => [one.header.toLowerCase(), one]));
  rule.secrets.forEach(({ header, secret, prefix }, index) => {
    const known = taken.get(header.toLowerCase());
    if (known === undefined) return;
    const place = `${field}.secrets[${index}]`;
    if (known.secret !== secret) {
      throw invalidField(`${place}.header`, `${at} puts another secret there`);
    }
    if (known.prefix !== prefix) {
      throw invalidField(`${place}.prefix`, `${at} puts the secret there with another prefix`);
    }
  });
}

/** True if every host of one pattern is one of the other. */
function covers(pattern: string, host: string): boolean {
  if (pattern === host) return true;
  return pattern.startsWith("*.") && host.endsWith(pattern.slice(1));
}

function portOf({ port, plainHttp }: EgressRule): number {
  if (port !== 0) return port;
  return plainHttp ? 80 : 443;
}

/** Escapes are left out of rules: requests are compared with theirs decoded where that is safe. */
function isPlainPath(path: string): boolean {
  if (!/^\/[!-~]*$/.test(path) || /[\\?#%]/.test(path)) return false;
  const parts = path.split("/").slice(1);
  return !parts.some(
    (part, index) => /^\.\.?(?:;|$)/.test(part) || (part === "" && index < parts.length - 1),
  );
}
