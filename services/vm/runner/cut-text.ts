/** Texts of other people within the contract's bounds. */

/** At most `maxBytes` of the text as UTF-8, whole characters only, without NUL. */
export function cutText(text: string, maxBytes: number): string {
  const clean = text.toWellFormed().replaceAll("\0", "\ufffd");
  const bytes = Buffer.from(clean);
  if (bytes.length <= maxBytes) return clean;
  let end = maxBytes;
  // A byte 10xxxxxx continues a character.
  while (end > 0 && ((bytes[end] ?? 0) & 0xc0) === 0x80) end -= 1;
  return bytes.toString("utf8", 0, end);
}
