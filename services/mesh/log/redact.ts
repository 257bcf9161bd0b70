/** Keeps secrets out of what is logged: by the name they stand under, and by their looks. */

/** What a secret looks like in a text, or in JSON, where the `n` of a `\n` may stand before it. */
const secretPattern =
  /(?:\b|(?<=\\(?:[bfnrt]|u[0-9a-f]{4})))(dm[jl]?_[A-Za-z0-9_-]{16,}|sk-[A-Za-z0-9_-]{8,}|gh[pousr]_[A-Za-z0-9]{16,}|(?:Bearer|Basic)\s+[A-Za-z0-9._~+/=-]{8,})/gi;

/** The user and password of a URL. */
const credentialsPattern = /(\b[a-z][a-z0-9+.-]*:\/\/)[^\s/"\\]+@/gi;

/** How the names of fields end whose value is a secret, whatever it looks like. */
const secretEnd = "(?:authorization|cookie|secret|token|api[-_]?key|password|passwd)";
const secretName = new RegExp(`${secretEnd}$`, "i");
/** Such a field with a text in it, in a line of JSON. */
const secretField = new RegExp(`("[^"\\\\]*${secretEnd}":)"(?:[^"\\\\]|\\\\.)*"`, "gi");

const hidden = "[redacted]";
/** Deeper than this a log line says nothing that anybody reads. */
const maxDepth = 12;

/** Replaces what looks like a secret. */
export function redact(text: string): string {
  return text.replace(secretPattern, hidden).replace(credentialsPattern, `$1${hidden}@`);
}

/** The same for a line of JSON, in which the names of the fields can be seen. */
export function redactLine(line: string): string {
  return redact(line.replace(secretField, `$1"${hidden}"`));
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
