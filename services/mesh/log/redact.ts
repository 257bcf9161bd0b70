/** Keeps secrets out of what is logged or told: by the name they stand under, and by their looks. */

/** What may stand before a secret: the edge of a word, or in JSON the `n` of a `\n`. */
const edge = "(?:\\b|(?<=\\\\(?:[bfnrt]|u[0-9a-f]{4})))";

/** What secrets look like, whoever issued them. */
const forms = [
  "dm[jl]?_[A-Za-z0-9_-]{16,}",
  "sk-[A-Za-z0-9_-]{8,}",
  "gh[pousr]_[A-Za-z0-9]{16,}",
  "github_pat_[A-Za-z0-9_]{16,}",
  "glpat-[A-Za-z0-9_-]{16,}",
  "xox[abeoprs]-[A-Za-z0-9-]{10,}",
  "npm_[A-Za-z0-9]{30,}",
  "eyJ[A-Za-z0-9_-]{8,}\\.[A-Za-z0-9_-]{8,}\\.[A-Za-z0-9_-]*",
  "(?:Bearer|Basic)\\s+[A-Za-z0-9._~+/=-]{8,}",
];
const secretPattern = new RegExp(`${edge}(?:${forms.join("|")})`, "gi");

/** Forms whose letters' case tells them from words. */
const casedPattern = new RegExp(`${edge}(?:A(?:KIA|SIA)[A-Z0-9]{16}|AIza[A-Za-z0-9_-]{35})`, "g");

/** A private key, whole or cut off. */
const pemPattern =
  /-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----[^"]*?(?:-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----|(?=")|$)/g;

/** The user and password of a URL; a slash in the password is the writer's mistake. */
const credentialsPattern =
  /(\b[a-z][a-z0-9+.-]*:\/\/)(?:[^\s/"\\]+|[^\s/"\\@:]*:(?!\d+(?:[/?#]|$))[^\s"\\]*)@/gi;

/** Credentials of a header, whatever the scheme. */
const headerPattern = /(\bauthorization\\?["']?\s*[:=]\s*\\?["']?)(?:\w+\s+)?[\w.~+/=-]{8,}/gi;

/** How the names of fields end whose value is a secret, whatever it looks like. */
const secretEnd =
  "(?:authorization|cookie|secrets?|token|(?:api|private|access|secret|signing|encryption|ssh|auth)[-_]?keys?|passw(?:or)?d|passphrase|pwd|credentials?)";
const secretName = new RegExp(`${secretEnd}$`, "i");
/** Such a field with a text in it, in a line of JSON. */
const secretField = new RegExp(`("[^"\\\\]*${secretEnd}":)"(?:[^"\\\\]|\\\\.)*"`, "gi");
/** Such a name with a value, as libpq, shells and queries write it. A number is a count. */
const secretAssignment = new RegExp(
  `(${secretEnd}\\s*=\\s*)(?!\\d+\\b|\\[redacted\\])(?:'(?:[^'\\\\]|\\\\.)*'|[^\\s"',;&)\\]}\\\\]+)`,
  "gi",
);

const hidden = "[redacted]";
/** Deeper than this a log line says nothing that anybody reads. */
const maxDepth = 12;

/** Replaces what looks like a secret. */
export function redact(text: string): string {
  return text
    .replace(pemPattern, hidden)
    .replace(headerPattern, `$1${hidden}`)
    .replace(secretPattern, hidden)
    .replace(casedPattern, hidden)
    .replace(credentialsPattern, `$1${hidden}@`)
    .replace(secretAssignment, `$1${hidden}`);
}

/** The same for a line of JSON, in which the names of the fields can be seen. */
export function redactLine(line: string): string {
  return redact(line.replace(secretField, `$1"${hidden}"`));
}

/**
 * A copy in which every value under a secret's name is replaced. Numbers and
 * flags stay. `toPlain` makes plain objects of errors, whose fields cannot be
 * seen otherwise.
 */
export function redactFields(
  value: unknown,
  toPlain: (error: Error) => object = plainError,
  depth = 0,
): unknown {
  if (typeof value !== "object" || value === null || value instanceof Uint8Array) return value;
  if (depth > maxDepth) return "[too deep]";
  if (value instanceof Error) return redactFields({ ...toPlain(value) }, toPlain, depth + 1);
  if ("toJSON" in value && typeof value.toJSON === "function") return value;
  if (Array.isArray(value)) return value.map((item) => redactFields(item, toPlain, depth + 1));
  return Object.fromEntries(
    Object.entries(value).map(([name, inner]) => {
      const secret = secretName.test(name) && (typeof inner === "string" || isObject(inner));
      return [name, secret ? hidden : redactFields(inner, toPlain, depth + 1)];
    }),
  );
}

function plainError({ name, message, stack }: Error): object {
  return { type: name, message, stack };
}

function isObject(value: unknown): boolean {
  return typeof value === "object" && value !== null;
}
