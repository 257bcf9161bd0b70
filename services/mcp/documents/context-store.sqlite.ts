/**
 * The context store in one SQLite file, with FTS5 and its bm25. Versions and
 * vectors are left to `vector-tables.sqlite.ts`.
 */
import type { DatabaseSync, SQLInputValue, StatementSync } from "node:sqlite";
import { fileURLToPath } from "node:url";
import { inTransaction, loadMigrations, openSqlite } from "@devmesh/mesh/database";
import type { Chunk } from "../chunks/chunk.ts";
import type { VectorSpace } from "../vectors/index-version.ts";
import { type ChunkRow, chunkColumns, documentKey, toStoredChunk } from "./chunk-row.ts";
import { CommonTerms } from "./common-terms.sqlite.ts";
import {
  type ChunkVector,
  type ContextStore,
  isImpossible,
  isNoFilter,
  type KnownDocument,
  type PutOutcome,
  type RankedChunk,
  type SearchFilter,
  type StoreCounts,
  type StoredChunk,
} from "./context-store.ts";
import type { Document, DocumentKey } from "./document.ts";
import { VectorTables } from "./vector-tables.sqlite.ts";
import { hiddenWords, type QueryTerm } from "./words.ts";

const migrations = loadMigrations(fileURLToPath(new URL("../migrations/sqlite/", import.meta.url)));

/** What passes a filter; its values are `$collections`, `$prefix` and `$metadata`. */
const filterSql = `
  ($collections = '[]' OR d.collection IN (SELECT value FROM json_each($collections)))
  AND substr(d.source, 1, length($prefix)) = $prefix
  AND NOT EXISTS (
    SELECT 1 FROM json_each($metadata) AS wanted
    WHERE NOT EXISTS (
      SELECT 1 FROM document_metadata m
      WHERE m.document_id = d.id
        AND m.key = wanted.value ->> 0 AND m.value = wanted.value ->> 1))`;

/** One SQLite file; calls are answered in order on this thread. */
export class SqliteContextStore implements ContextStore {
  readonly #db: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();
  readonly #vectors: VectorTables;
  readonly #commonTerms: CommonTerms;

  /** Opens or makes the file. Throws STORE_TOO_NEW, UNAVAILABLE. */
  constructor(options: { readonly path: string }) {
    this.#db = openSqlite({ path: options.path, migrations });
    this.#vectors = new VectorTables(this.#db, (sql) => this.#prepare(sql));
    this.#commonTerms = new CommonTerms((sql) => this.#prepare(sql));
  }

  async known(keys: readonly DocumentKey[]): Promise<KnownDocument[]> {
    const rows = this.#prepare(`
      SELECT d.collection, d.source, d.content_hash, d.chunk_count
      FROM json_each($keys) AS key
      JOIN documents d ON d.collection = key.value ->> 0 AND d.source = key.value ->> 1
    `).all({ $keys: JSON.stringify(keys.map((key) => [key.collection, key.source])) });
    return (rows as unknown as KnownRow[]).map((row) => ({
      ...documentKey(row),
      contentHash: row.content_hash,
      chunks: row.chunk_count,
    }));
  }

  async putDocument(document: Document, chunks: readonly Chunk[]): Promise<PutOutcome> {
    return inTransaction(this.#db, () => {
      const { collection, source } = document;
      const before = this.#prepare(
        "SELECT id FROM documents WHERE collection = ?1 AND source = ?2",
      ).get(collection, source);
      const { id: documentId } = this.#prepare(`
        INSERT INTO documents (collection, source, content_hash, local_only, chunk_count)
        VALUES (?1, ?2, ?3, ?4, ?5)
        ON CONFLICT (collection, source) DO UPDATE SET
          content_hash = excluded.content_hash, local_only = excluded.local_only,
          chunk_count = excluded.chunk_count, updated_at = excluded.updated_at
        RETURNING id
      `).get(
        collection,
        source,
        document.contentHash,
        Number(document.localOnly),
        chunks.length,
      ) as {
        id: number;
      };
      this.#putMetadata(documentId, document.metadata);
      const removedChunkIds = this.#removeOthers(documentId, chunks);
      for (const chunk of chunks) this.#putChunk(documentId, source, chunk);
      return { added: before === undefined, removedChunkIds };
    });
  }

  #putMetadata(documentId: number, metadata: Readonly<Record<string, string>>): void {
    this.#prepare("DELETE FROM document_metadata WHERE document_id = ?1").run(documentId);
    const insert = this.#prepare(
      "INSERT INTO document_metadata (document_id, key, value) VALUES (?1, ?2, ?3)",
    );
    for (const [key, value] of Object.entries(metadata)) insert.run(documentId, key, value);
  }

  #removeOthers(documentId: number, chunks: readonly Chunk[]): string[] {
    const removed = this.#prepare(`
      SELECT sequence, id FROM chunks
      WHERE document_id = ?1 AND id NOT IN (SELECT value FROM json_each(?2))
    `).all(documentId, JSON.stringify(chunks.map((chunk) => chunk.id))) as {
      sequence: number;
      id: string;
    }[];
    const removeWords = this.#prepare("DELETE FROM chunk_words WHERE rowid = ?1");
    const removeChunk = this.#prepare("DELETE FROM chunks WHERE sequence = ?1");
    for (const { sequence } of removed) {
      removeWords.run(sequence);
      removeChunk.run(sequence);
    }
    return removed.map(({ id }) => id);
  }

  #putChunk(documentId: number, source: string, chunk: Chunk): void {
    const { id, ordinal, startLine, endLine, title, text } = chunk;
    const moved = this.#prepare(
      "UPDATE chunks SET ordinal = ?1, start_line = ?2, end_line = ?3 WHERE id = ?4",
    ).run(ordinal, startLine, endLine, id);
    if (moved.changes === 1) return;
    const { lastInsertRowid } = this.#prepare(`
      INSERT INTO chunks (id, document_id, ordinal, start_line, end_line, title, text)
      VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
    `).run(id, documentId, ordinal, startLine, endLine, title, text);
    this.#prepare(`
      INSERT INTO chunk_words (rowid, title, source, text, hidden) VALUES (?1, ?2, ?3, ?4, ?5)
    `).run(lastInsertRowid, title, source, text, hiddenWords(`${source} ${title} ${text}`));
  }

  async searchWords(
    terms: readonly QueryTerm[],
    filter: SearchFilter,
    limit: number,
  ): Promise<RankedChunk[]> {
    if (terms.length === 0 || isImpossible(filter)) return [];
    // Terms hold only letters and digits: inside the quotes there is no syntax.
    const phrases = terms.map(({ words }) => `"${words.join(" ")}"`);
    const match = this.#commonTerms.rarest(phrases).join(" OR ");
    const unfiltered = isNoFilter(filter);
    const rows = this.#prepare(`
      SELECT c.id, f.score FROM (
        SELECT rowid, -rank AS score FROM chunk_words
        WHERE chunk_words MATCH $match AND rank MATCH 'bm25(4.0, 2.0, 1.0, 0.7)'
        ${unfiltered ? "ORDER BY rank LIMIT $limit" : ""}
      ) AS f
      JOIN chunks c ON c.sequence = f.rowid
      ${unfiltered ? "" : `JOIN documents d ON d.id = c.document_id WHERE ${filterSql}`}
      ORDER BY f.score DESC, c.sequence LIMIT $limit
    `).all({ $match: match, $limit: limit, ...(unfiltered ? {} : filterValues(filter)) });
    return rows as unknown as RankedChunk[];
  }

  async chunks(ids: readonly string[], filter: SearchFilter): Promise<StoredChunk[]> {
    if (isImpossible(filter)) return [];
    const rows = this.#prepare(`
      SELECT ${chunkColumns} FROM json_each($ids) AS wanted
      JOIN chunks c ON c.id = wanted.value JOIN documents d ON d.id = c.document_id
      WHERE ${filterSql}
    `).all({ $ids: JSON.stringify(ids), ...filterValues(filter) });
    return (rows as unknown as ChunkRow[]).map(toStoredChunk);
  }

  async chunkIds(filter: SearchFilter, limit: number): Promise<string[]> {
    if (isImpossible(filter)) return [];
    const rows = this.#prepare(`
      SELECT c.id FROM documents d JOIN chunks c ON c.document_id = d.id
      WHERE ${filterSql} LIMIT $limit
    `).all({ $limit: limit, ...filterValues(filter) });
    return (rows as { id: string }[]).map(({ id }) => id);
  }

  async counts(): Promise<StoreCounts> {
    return this.#prepare(`
      SELECT (SELECT count(*) FROM documents) AS documents, (SELECT count(*) FROM chunks) AS chunks
    `).get() as unknown as StoreCounts;
  }

  async indexVersions() {
    return this.#vectors.versions();
  }

  async addIndexVersion(space: VectorSpace): Promise<void> {
    this.#vectors.add(space);
  }

  async promoteIndexVersion(id: string): Promise<void> {
    this.#vectors.promote(id);
  }

  async dropIndexVersion(id: string): Promise<void> {
    this.#vectors.drop(id);
  }

  async pending(query: { versionId: string; after: number; limit: number }) {
    return this.#vectors.pending(query);
  }

  async putVectors(versionId: string, vectors: readonly ChunkVector[]): Promise<string[]> {
    return this.#vectors.put(versionId, vectors);
  }

  async countVectors(versionId: string): Promise<number> {
    return this.#vectors.count(versionId);
  }

  async vectorIds(versionId: string, after: string, limit: number): Promise<string[]> {
    return this.#vectors.ids(versionId, after, limit);
  }

  async vectors(versionId: string, chunkIds: readonly string[]): Promise<ChunkVector[]> {
    return this.#vectors.get(versionId, chunkIds);
  }

  async close(): Promise<void> {
    if (this.#db.isOpen) this.#db.close();
  }

  #prepare(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      statement = this.#db.prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }
}

interface KnownRow {
  readonly collection: string;
  readonly source: string;
  readonly content_hash: string;
  readonly chunk_count: number;
}

function filterValues(filter: SearchFilter): Record<string, SQLInputValue> {
  return {
    $collections: JSON.stringify(filter.collections),
    $prefix: filter.sourcePrefix,
    $metadata: JSON.stringify(Object.entries(filter.metadata)),
  };
}
