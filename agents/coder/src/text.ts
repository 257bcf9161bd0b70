/** Owns cutting and cleaning of text for people, records and models. */

import { createHash } from "node:crypto";

/** At most so many bytes of UTF-8, cut between characters. */
export function cutBytes(text: string, maxBytes: number): string {
  const bytes = Buffer.from(text);
  if (bytes.length <= maxBytes) return text;
  let end = maxBytes;
  // 10xxxxxx continues a character: the cut goes before its first byte.
  while (end > 0 && ((bytes[end] ?? 0) & 0xc0) === 0x80) end--;
  return bytes.toString("utf8", 0, end);
}

/** The head and the tail of a text, with the number of bytes left out between them. */
export function headAndTail(text: string, maxBytes: number): string {
  const bytes = Buffer.from(text);
  if (bytes.length <= maxBytes) return text;
  const half = Math.floor(maxBytes / 2);
  const head = cutBytes(text, half);
  let start = bytes.length - half;
  while (start < bytes.length && ((bytes[start] ?? 0) & 0xc0) === 0x80) start++;
  const left = start - Buffer.byteLength(head);
  return `${head}${leftOut(left)}${bytes.toString("utf8", start)}`;
}

/** What stands where something was left out. */
export function leftOut(bytes: number): string {
  return `\n[… ${bytes} bytes left out …]\n`;
}

/** A text that fits, or its head with its size and SHA-256. */
export function cutWithHash(text: string, maxBytes: number): string {
  const bytes = Buffer.byteLength(text);
  if (bytes <= maxBytes) return text;
  const hash = createHash("sha256").update(text).digest("hex");
  return `${cutBytes(text, maxBytes)}\n[… cut: ${bytes} bytes in all, SHA-256 ${hash}]`;
}

/** One line of at most so many characters, without anything a terminal would act on. */
export function oneLine(text: string, maxCharacters = 200): string {
  // Cut first: what does not fit need not be cleaned, however long it is.
  const line = printable(text.slice(0, 16 * maxCharacters))
    .replaceAll(/\s+/g, " ")
    .trim();
  if (line.length <= maxCharacters) return line;
  return `${line.slice(0, maxCharacters - 1).toWellFormed()}…`;
}

/** The text without escape sequences and control characters other than line end and tab. */
export function printable(text: string): string {
  return withoutEscapes(text)
    .replaceAll("\r\n", "\n")
    .replaceAll(/[^\P{Cc}\n\t]/gu, "");
}

/** In time that grows with the length only, whatever the text is. */
function withoutEscapes(text: string): string {
  const [head = "", ...pieces] = text.split("\x1b");
  return head + pieces.map((piece, index) => afterEscape(piece, pieces[index + 1])).join("");
}

/** What a terminal would show of a piece that follows an escape character. */
function afterEscape(piece: string, next: string | undefined): string {
  if (piece.startsWith("[")) return piece.replace(/^\[[0-?]*[ -/]*[@-~]?/, "");
  if (!piece.startsWith("]")) return piece.replace(/^[ -/]*[0-~]/, "");
  // A title or a link: up to BEL, or to the escape and the backslash of the next piece.
  const end = piece.indexOf("\x07");
  if (end >= 0) return piece.slice(end + 1);
  return next?.startsWith("\\") ? "" : piece.slice(1);
}

/** The words of anything thrown. */
export function errorText(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The system's code of anything thrown, for example `ENOENT`. Empty where there is none. */
export function errorCode(error: unknown): string {
  // Not `instanceof`: what a script of another context throws has that one's classes.
  if (typeof error !== "object" || error === null || !("code" in error)) return "";
  return typeof error.code === "string" ? error.code : "";
}
