/**
 * The context store in a Postgres schema, with `tsvector` under a GIN index.
 * Versions and vectors are left to `vector-tables.postgres.ts`.
 */
import { fileURLToPath } from "node:url";
import { loadMigrations, openPostgres, withTransaction } from "@devmesh/mesh/database";
import type { Pool, PoolClient } from "pg";
import type { Chunk } from "../chunks/chunk.ts";
import type { VectorSpace } from "../vectors/index-version.ts";
import { type ChunkRow, chunkColumns, documentKey, toStoredChunk } from "./chunk-row.ts";
import {
  type ChunkVector,
  type ContextStore,
  isImpossible,
  type KnownDocument,
  type PutOutcome,
  type RankedChunk,
  type SearchFilter,
  type StoreCounts,
  type StoredChunk,
} from "./context-store.ts";
import type { Document, DocumentKey } from "./document.ts";
import { VectorTables } from "./vector-tables.postgres.ts";
import { hiddenWords, type QueryTerm, wordsOf } from "./words.ts";

const migrations = loadMigrations(
  fileURLToPath(new URL("../migrations/postgres/", import.meta.url)),
);

/** What passes a filter: $1 collections, $2 prefix, $3 metadata keys, $4 their values. */
const filterSql = `
  (cardinality($1::text[]) = 0 OR d.collection = ANY ($1))
  AND starts_with(d.source, $2)
  AND NOT EXISTS (
    SELECT 1 FROM unnest($3::text[], $4::text[]) AS wanted (key, value)
    WHERE NOT EXISTS (
      SELECT 1 FROM document_metadata m
      WHERE m.document_id = d.id AND m.key = wanted.key AND m.value = wanted.value))`;

/** A term that more chunks have than this tells nothing; counting stops there. */
const commonTermLimit = 5_000;

/** A pool of connections to one schema. */
export class PostgresContextStore implements ContextStore {
  readonly #pool: Pool;
  readonly #vectors: VectorTables;

  private constructor(pool: Pool) {
    this.#pool = pool;
    this.#vectors = new VectorTables(pool);
  }

  /** Connects and migrates. Default schema: `mcp`. Throws STORE_TOO_NEW, UNAVAILABLE. */
  static async open(options: { url: string; schema?: string }): Promise<PostgresContextStore> {
    const { url, schema = "mcp" } = options;
    return new PostgresContextStore(await openPostgres({ url, schema, migrations }));
  }

  async known(keys: readonly DocumentKey[]): Promise<KnownDocument[]> {
    const { rows } = await this.#pool.query(
      `SELECT d.collection, d.source, d.content_hash, d.chunk_count
       FROM unnest($1::text[], $2::text[]) AS key (collection, source)
       JOIN documents d USING (collection, source)`,
      [keys.map((key) => key.collection), keys.map((key) => key.source)],
    );
    return rows.map((row) => ({
      ...documentKey(row),
      contentHash: row.content_hash,
      chunks: row.chunk_count,
    }));
  }

  putDocument(document: Document, chunks: readonly Chunk[]): Promise<PutOutcome> {
    return withTransaction(this.#pool, async (client) => {
      const { rows } = await client.query(
        // `xmax = 0` only holds for a row that this statement inserted.
        `INSERT INTO documents (collection, source, content_hash, local_only, chunk_count)
         VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (collection, source) DO UPDATE SET
           content_hash = excluded.content_hash, local_only = excluded.local_only,
           chunk_count = excluded.chunk_count, updated_at = now()
         RETURNING id, xmax = 0 AS added`,
        [
          document.collection,
          document.source,
          document.contentHash,
          document.localOnly,
          chunks.length,
        ],
      );
      const { id, added } = rows[0];
      await client.query("DELETE FROM document_metadata WHERE document_id = $1", [id]);
      await client.query(
        `INSERT INTO document_metadata (document_id, key, value)
         SELECT $1, key, value FROM unnest($2::text[], $3::text[]) AS entry (key, value)`,
        [id, Object.keys(document.metadata), Object.values(document.metadata)],
      );
      const removed = await client.query(
        "DELETE FROM chunks WHERE document_id = $1 AND id <> ALL ($2::text[]) RETURNING id",
        [id, chunks.map((chunk) => chunk.id)],
      );
      await putChunks(client, id, document.source, chunks);
      return { added, removedChunkIds: removed.rows.map((row) => row.id) };
    });
  }

  async searchWords(
    terms: readonly QueryTerm[],
    filter: SearchFilter,
    limit: number,
  ): Promise<RankedChunk[]> {
    if (terms.length === 0 || isImpossible(filter)) return [];
    // Postgres ranks without the rarity of a term, so each term is weighed by
    // its inverse document frequency, counted up to a limit.
    const { rows } = await this.#pool.query(
      `WITH asked AS MATERIALIZED (
         SELECT query, ln(1 + (total.n - df.n + 0.5) / (df.n + 0.5)) AS idf, df.n AS df
         FROM (SELECT DISTINCT phraseto_tsquery('english', term) AS query
               FROM unnest($5::text[]) AS term) AS parsed
         CROSS JOIN (SELECT greatest(count(*), $6) AS n
                     FROM (SELECT 1 FROM chunks LIMIT $6) AS part) AS total
         CROSS JOIN LATERAL (SELECT count(*) AS n FROM (
           SELECT 1 FROM chunks WHERE words @@ query LIMIT $6) AS part) AS df
         WHERE numnode(query) > 0 AND df.n > 0
       ), telling AS MATERIALIZED (
         SELECT string_agg(query::text, ' | ')::tsquery AS query FROM asked
         WHERE df < $6 OR NOT EXISTS (SELECT 1 FROM asked WHERE df < $6)
       )
       SELECT c.id, (
         SELECT sum(asked.idf * ts_rank('{0.2, 0.3, 0.5, 1.0}', c.words, asked.query, 1))
         FROM asked WHERE c.words @@ asked.query)::float8 AS score
       FROM telling JOIN chunks c ON c.words @@ telling.query
       JOIN documents d ON d.id = c.document_id
       WHERE ${filterSql}
       ORDER BY score DESC, c.sequence LIMIT $7`,
      [...filterValues(filter), terms.map(({ words }) => words.join(" ")), commonTermLimit, limit],
    );
    return rows;
  }

  async chunks(ids: readonly string[], filter: SearchFilter): Promise<StoredChunk[]> {
    if (isImpossible(filter)) return [];
    const { rows } = await this.#pool.query<ChunkRow>(
      `SELECT ${chunkColumns} FROM chunks c JOIN documents d ON d.id = c.document_id
       WHERE c.id = ANY ($5::text[]) AND ${filterSql}`,
      [...filterValues(filter), ids],
    );
    return rows.map(toStoredChunk);
  }

  async chunkIds(filter: SearchFilter, limit: number): Promise<string[]> {
    if (isImpossible(filter)) return [];
    const { rows } = await this.#pool.query<{ id: string }>(
      `SELECT c.id FROM documents d JOIN chunks c ON c.document_id = d.id
       WHERE ${filterSql} LIMIT $5`,
      [...filterValues(filter), limit],
    );
    return rows.map(({ id }) => id);
  }

  async counts(): Promise<StoreCounts> {
    const { rows } = await this.#pool.query(
      `SELECT (SELECT count(*) FROM documents) AS documents, (SELECT count(*) FROM chunks) AS chunks`,
    );
    return { documents: Number(rows[0].documents), chunks: Number(rows[0].chunks) };
  }

  indexVersions() {
    return this.#vectors.versions();
  }

  addIndexVersion(space: VectorSpace): Promise<void> {
    return this.#vectors.add(space);
  }

  promoteIndexVersion(id: string): Promise<void> {
    return this.#vectors.promote(id);
  }

  dropIndexVersion(id: string): Promise<void> {
    return this.#vectors.drop(id);
  }

  pending(query: { versionId: string; after: number; limit: number }) {
    return this.#vectors.pending(query);
  }

  putVectors(versionId: string, vectors: readonly ChunkVector[]): Promise<string[]> {
    return this.#vectors.put(versionId, vectors);
  }

  countVectors(versionId: string): Promise<number> {
    return this.#vectors.count(versionId);
  }

  vectorIds(versionId: string, after: string, limit: number): Promise<string[]> {
    return this.#vectors.ids(versionId, after, limit);
  }

  vectors(versionId: string, chunkIds: readonly string[]): Promise<ChunkVector[]> {
    return this.#vectors.get(versionId, chunkIds);
  }

  async close(): Promise<void> {
    if (!this.#pool.ended) await this.#pool.end();
  }
}

function filterValues(filter: SearchFilter): unknown[] {
  const { collections, sourcePrefix, metadata } = filter;
  return [collections, sourcePrefix, Object.keys(metadata), Object.values(metadata)];
}

/** Words are given one by one: Postgres' own parser would make paths and hosts of them. */
const plainWords = (text: string) => wordsOf(text).join(" ");

async function putChunks(
  client: PoolClient,
  documentId: string,
  source: string,
  chunks: readonly Chunk[],
): Promise<void> {
  await client.query(
    `INSERT INTO chunks (document_id, id, ordinal, start_line, end_line, title, text, words)
     SELECT $1, id, ordinal, start_line, end_line, title, text,
       setweight(to_tsvector('english', title_words), 'A') ||
       setweight(to_tsvector('english', $2), 'B') ||
       setweight(to_tsvector('english', text_words), 'C') ||
       setweight(to_tsvector('english', hidden_words), 'D')
     FROM unnest($3::text[], $4::int[], $5::int[], $6::int[], $7::text[], $8::text[],
                 $9::text[], $10::text[], $11::text[])
       AS chunk (id, ordinal, start_line, end_line, title, text, title_words, text_words,
                 hidden_words)
     ORDER BY ordinal
     ON CONFLICT (id) DO UPDATE SET ordinal = excluded.ordinal,
       start_line = excluded.start_line, end_line = excluded.end_line`,
    [
      documentId,
      plainWords(source),
      chunks.map((chunk) => chunk.id),
      chunks.map((chunk) => chunk.ordinal),
      chunks.map((chunk) => chunk.startLine),
      chunks.map((chunk) => chunk.endLine),
      chunks.map((chunk) => chunk.title),
      chunks.map((chunk) => chunk.text),
      chunks.map((chunk) => plainWords(chunk.title)),
      chunks.map((chunk) => plainWords(chunk.text)),
      chunks.map((chunk) => hiddenWords(`${source} ${chunk.title} ${chunk.text}`)),
    ],
  );
}
