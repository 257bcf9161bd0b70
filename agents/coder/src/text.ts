/** Owns cutting and cleaning of text for people, records and models. */
import { stripVTControlCharacters } from "node:util";

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

/** One line of at most so many characters, without anything a terminal would act on. */
export function oneLine(text: string, maxCharacters = 200): string {
  const line = printable(text).replaceAll(/\s+/g, " ").trim();
  if (line.length <= maxCharacters) return line;
  return `${line.slice(0, maxCharacters - 1).toWellFormed()}…`;
}

/** The text without escape sequences and control characters other than line end and tab. */
export function printable(text: string): string {
  return stripVTControlCharacters(text)
    .replaceAll("\r\n", "\n")
    .replaceAll(/[^\P{Cc}\n\t]/gu, "");
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
