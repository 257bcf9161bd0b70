/** The path of a request as rules compare it: one spelling, or none where it has two readings. */

/** What a request target is made of. */
export interface RequestTarget {
  /** Without the query, as it came. */
  readonly path: string;
  /** With `?`, or empty. */
  readonly query: string;
}

/** A target in origin form (`/path?query`). Undefined for what is none, or has a fragment or bytes that no URL has. */
export function parseTarget(text: string): RequestTarget | undefined {
  if (!/^\/[!-~]*$/.test(text) || /[#\\]/.test(text)) return undefined;
  const at = text.indexOf("?");
  if (at < 0) return { path: text, query: "" };
  return { path: text.slice(0, at), query: text.slice(at) };
}

/** Characters that mean the same whether they are encoded or not. */
const unreserved = /^[A-Za-z0-9_~-]$/;

/** Characters that servers disagree on once they are encoded; so they do on all that cannot be printed. */
const contested = new Set(["/", "\\", ".", "%"]);

/**
 * The path with unreserved characters decoded and other escapes in capitals.
 * Undefined where servers may read it in different ways: `.` and `..`, also
 * before path parameters; empty segments; backslashes; an encoded slash, dot,
 * backslash, percent sign or control character; an escape that is none.
 */
export function normalPath(path: string): string | undefined {
  if (!/^\/[!-~]*$/.test(path) || /[\\?#]/.test(path)) return undefined;
  let isClear = true;
  const decoded = path.replace(/%(.{0,2})/g, (escaped, hex: string) => {
    const code = /^[0-9A-Fa-f]{2}$/.test(hex) ? Number.parseInt(hex, 16) : 0;
    const character = String.fromCharCode(code);
    if (unreserved.test(character)) return character;
    if (code < 0x20 || code === 0x7f || contested.has(character)) isClear = false;
    return escaped.toUpperCase();
  });
  if (!isClear) return undefined;
  const segments = decoded.split("/").slice(1);
  const isOdd = (segment: string, index: number) =>
    (segment === "" && index < segments.length - 1) || /^\.\.?(?:;|$)/.test(segment);
  return segments.some(isOdd) ? undefined : decoded;
}
