/** Reads fields of an agent's events, which may be anything. */

/** A JSON object. */
export type Fields = Readonly<Record<string, unknown>>;

/** The object that a line is; undefined if it is none. */
export function eventOf(line: string): Fields | undefined {
  if (!line.startsWith("{")) return undefined;
  try {
    return fieldsOf(JSON.parse(line));
  } catch {
    // Not an event: it stays in the log.
    return undefined;
  }
}

/** The value as an object; an empty one if it is none. */
export function fieldsOf(value: unknown): Fields {
  const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
  return isObject ? { ...value } : {};
}

/** The value as a text; empty if it is none. */
export function textOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}

/** The value as a count; 0 if it is none. */
export function countOf(value: unknown): number {
  return typeof value === "number" && value >= 0 && Number.isFinite(value) ? Math.floor(value) : 0;
}

/** At most so many characters of a text, for payloads of notes. */
export function excerpt(text: string, maxLength = 4_000): string {
  return text.length <= maxLength ? text : `${text.slice(0, maxLength)}…`;
}
