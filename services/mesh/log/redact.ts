/** Keeps secrets out of what is logged: by the name they stand under, and by their looks. */

/** What a secret of devmesh or of a provider looks like in a text. */
const secretPattern =
  /\b(dm_[A-Za-z0-9_-]{16,}|sk-[A-Za-z0-9_-]{8,}|gh[pousr]_[A-Za-z0-9]{16,}|(?:Bearer|Basic)\s+[A-Za-z0-9._~+/=-]{8,})/gi;

/** The user and password of a URL. */
const credentialsPattern = /(\b[a-z][a-z0-9+.-]*:\/\/)[^\s/"\\@]+@/gi;

/** Names of fields whose value is a secret, whatever it looks like. */
const secretName =
  /^(authorization|proxy-authorization|cookie|set-cookie|.*secret|.*token|.*api[-_]?key|.*password|passwd)$/i;

const hidden = "[redacted]";
/** Deeper than this a log line says nothing that anybody reads. */
const maxDepth = 12;

/** Replaces what looks like a secret. */
export function redact(text: string): string {
  return text.replace(secretPattern, hidden).replace(credentialsPattern, `$1${hidden}@`);
}

/** A copy in which every value under a secret's name is replaced. Numbers and flags stay. */
export function redactFields(value: unknown, depth = 0): unknown {
  if (typeof value !== "object" || value === null || value instanceof Uint8Array) return value;
  if (depth > maxDepth) return "[too deep]";
  if ("toJSON" in value && typeof value.toJSON === "function") return value;
  if (Array.isArray(value)) return value.map((item) => redactFields(item, depth + 1));
  return Object.fromEntries(
    Object.entries(value).map(([name, inner]) => {
      const secret = secretName.test(name) && (typeof inner === "string" || isObject(inner));
      return [name, secret ? hidden : redactFields(inner, depth + 1)];
    }),
  );
}

function isObject(value: unknown): boolean {
  return typeof value === "object" && value !== null;
}
