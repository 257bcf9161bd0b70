/** A chunk as both SQL dialects answer it. */
import type { StoredChunk } from "./context-store.ts";
import { type DocumentKey, isCollection } from "./document.ts";

/** A chunk joined with its document; `sequence` is a text where the dialect answers so. */
export interface ChunkRow {
  readonly sequence: number | string;
  readonly id: string;
  readonly ordinal: number;
  readonly start_line: number;
  readonly end_line: number;
  readonly title: string;
  readonly text: string;
  readonly collection: string;
  readonly source: string;
  readonly local_only: number | boolean;
}

/** The columns of a `ChunkRow`, of `chunks c` and `documents d`. */
export const chunkColumns = `c.sequence, c.id, c.ordinal, c.start_line, c.end_line, c.title,
  c.text, d.collection, d.source, d.local_only`;

/** The key of a row. */
export function documentKey(row: { collection: string; source: string }): DocumentKey {
  if (!isCollection(row.collection)) throw new Error(`unknown collection ${row.collection}`);
  return { collection: row.collection, source: row.source };
}

/** The chunk of a row. */
export function toStoredChunk(row: ChunkRow): StoredChunk {
  return {
    ...documentKey(row),
    id: row.id,
    ordinal: row.ordinal,
    startLine: row.start_line,
    endLine: row.end_line,
    title: row.title,
    text: row.text,
    localOnly: Boolean(row.local_only),
  };
}
