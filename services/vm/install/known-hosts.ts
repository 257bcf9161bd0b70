/** Which keys of which hosts a user trusts: the file `known_hosts` of OpenSSH. Never written here. */
import { createHash, createHmac, timingSafeEqual } from "node:crypto";
import { readFileSync } from "node:fs";

/** What the file says of a host's key. */
export type KeyVerdict = "known" | "unknown" | "changed" | "revoked";

/** `SHA256:…` of a public key, as ssh shows it. */
export function fingerprintOf(key: Buffer): string {
  return `SHA256:${createHash("sha256").update(key).digest("base64").replace(/=+$/, "")}`;
}

/** What files say of a key; one that is not there says nothing. */
export function judgeKey(
  paths: readonly string[],
  host: string,
  port: number,
  key: Buffer,
): KeyVerdict {
  const name = port === 22 ? host.toLowerCase() : `[${host.toLowerCase()}]:${port}`;
  const type = typeOf(key);
  let verdict: KeyVerdict = "unknown";
  for (const line of paths.flatMap(linesOf)) {
    const words = line.split(/\s+/);
    const marker = words[0]?.startsWith("@") ? words.shift() : undefined;
    const [names = "", lineType = "", encoded = ""] = words;
    if (!names.split(",").some((pattern) => matches(pattern, name)) || isDenied(names, name))
      continue;
    const isSame = lineType === type && Buffer.from(encoded, "base64").equals(key);
    if (marker === "@revoked" && isSame) return "revoked";
    // Certificates of hosts are not read: their authority's key is no host's.
    if (marker !== undefined) continue;
    if (isSame) verdict = "known";
    else if (verdict === "unknown") verdict = "changed";
  }
  return verdict;
}

function linesOf(path: string): string[] {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch {
    // Nobody has trusted any host there.
    return [];
  }
  return text
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "" && !line.startsWith("#"));
}

function isDenied(names: string, name: string): boolean {
  return names
    .split(",")
    .some((pattern) => pattern.startsWith("!") && matches(pattern.slice(1), name));
}

function matches(pattern: string, name: string): boolean {
  const [, salt, hash] = /^\|1\|([^|]+)\|(.+)$/.exec(pattern) ?? [];
  if (salt !== undefined && hash !== undefined) {
    const wanted = Buffer.from(hash, "base64");
    const given = createHmac("sha1", Buffer.from(salt, "base64")).update(name).digest();
    return wanted.length === given.length && timingSafeEqual(wanted, given);
  }
  const escaped = pattern.toLowerCase().replace(/[.+^${}()|[\]\\]/g, "\\$&");
  return new RegExp(`^${escaped.replaceAll("*", ".*").replaceAll("?", ".")}$`).test(name);
}

/** The name of a key's type stands at its start. */
function typeOf(key: Buffer): string {
  const length = key.length >= 4 ? key.readUInt32BE(0) : 0;
  return key.subarray(4, 4 + length).toString("latin1");
}
