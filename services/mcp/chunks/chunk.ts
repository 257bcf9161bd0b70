/**
 * Owns what a chunk is: a run of whole lines (or a piece of one very long
 * line) of a document. Cutting is left to `chunker.ts` and its neighbours.
 */
import { createHash } from "node:crypto";

/** The most characters a chunk has. */
export const maxChunkChars = 1600;

/** A piece of a text, as the splitters cut it. */
export interface Piece {
  /** Where it starts in the text, in UTF-16 units. */
  readonly start: number;
  /** Where it ends, exclusive. */
  readonly end: number;
  /** Its first line, from 1. */
  readonly startLine: number;
  /** Its last line, inclusive. */
  readonly endLine: number;
  /** A function's name, a heading; several with `, `. Empty where unknown. */
  readonly title: string;
}

/** A piece of a document that is stored and found by itself. */
export interface Chunk {
  /** Equal for equal text and title in the same document, so that its vector can stay. */
  readonly id: string;
  /** Its place in the document, from 0. */
  readonly ordinal: number;
  readonly startLine: number;
  readonly endLine: number;
  readonly title: string;
  readonly text: string;
}

/** Makes the chunks of a document out of its pieces. */
export function toChunks(
  document: { readonly collection: string; readonly source: string; readonly text: string },
  pieces: readonly Piece[],
): Chunk[] {
  const seen = new Map<string, number>();
  return pieces.map(({ start, end, startLine, endLine, title }, ordinal) => {
    const text = document.text.slice(start, end);
    const content = createHash("sha256")
      .update(JSON.stringify([document.collection, document.source, title]))
      .update(text)
      .digest("hex");
    const copies = seen.get(content) ?? 0;
    seen.set(content, copies + 1);
    const id = `ck_${content.slice(0, 32)}${copies === 0 ? "" : `_${copies}`}`;
    return { id, ordinal, startLine, endLine, title, text };
  });
}
