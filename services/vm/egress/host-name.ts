/** Reads hosts and ports as requests name them. Anything that two programs could read differently is refused. */

/** A destination by name. */
export interface Authority {
  /** In lower case; never an address. */
  readonly host: string;
  readonly port: number;
}

const maxHostBytes = 253;

/**
 * A name as rules write it: labels of letters, digits and hyphens, the last
 * one beginning with a letter, so that no number, in whichever base, and no
 * IPv4 address is one. A name beyond ASCII has its `xn--` form.
 */
const namePattern =
  /^(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?$/;

/** True for a host's name in lower case. */
export function isHostName(text: string): boolean {
  return Buffer.byteLength(text) <= maxHostBytes && namePattern.test(text);
}

/**
 * `host:port`, or `host` where a port is given for it. Undefined for what is
 * no such thing: addresses, brackets, user names, trailing dots, port 0.
 */
export function parseAuthority(text: string, defaultPort?: number): Authority | undefined {
  const match = /^([^:@/?#[\]\\\s]+)(?::(\d{1,5}))?$/.exec(text);
  const host = match?.[1]?.toLowerCase() ?? "";
  const port = match?.[2] === undefined ? defaultPort : Number(match[2]);
  if (!isHostName(host) || port === undefined || port < 1 || port > 65_535) return undefined;
  return { host, port };
}

/** True if a rule's host, exact or `*.name`, stands for this one. */
export function hostMatches(pattern: string, host: string): boolean {
  if (!pattern.startsWith("*.")) return pattern === host;
  return host.endsWith(pattern.slice(1)) && host.length > pattern.length - 1;
}
