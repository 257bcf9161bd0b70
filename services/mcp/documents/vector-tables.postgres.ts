/** Index versions and vectors in the Postgres context store. */
import { withTransaction } from "@devmesh/mesh/database";
import { notFound } from "@devmesh/mesh/errors";
import type { Pool } from "pg";
import { checkDimensions, type IndexVersion, type VectorSpace } from "../vectors/index-version.ts";
import { fromBytes, toBytes } from "../vectors/vector-bytes.ts";
import { type ChunkRow, chunkColumns, toStoredChunk } from "./chunk-row.ts";
import type { ChunkVector, PendingChunk } from "./context-store.ts";

/** The part of the store that keeps versions and vectors; see `ContextStore` for each call. */
export class VectorTables {
  readonly #pool: Pool;

  constructor(pool: Pool) {
    this.#pool = pool;
  }

  async versions(): Promise<IndexVersion[]> {
    const { rows } = await this.#pool.query<IndexVersion>(
      "SELECT id, model, dimensions, state FROM index_versions ORDER BY created_at, id",
    );
    return rows;
  }

  async add(space: VectorSpace): Promise<void> {
    await this.#pool.query(
      `INSERT INTO index_versions (id, model, dimensions, state) VALUES ($1, $2, $3, 'building')
       ON CONFLICT (id) DO NOTHING`,
      [space.id, space.model, space.dimensions],
    );
  }

  promote(id: string): Promise<void> {
    return withTransaction(this.#pool, async (client) => {
      await client.query(
        "UPDATE index_versions SET state = 'building' WHERE state = 'current' AND id <> $1",
        [id],
      );
      const { rowCount } = await client.query(
        "UPDATE index_versions SET state = 'current' WHERE id = $1",
        [id],
      );
      if (rowCount === 0) throw notFound("index version", id);
    });
  }

  async drop(id: string): Promise<void> {
    await this.#pool.query("DELETE FROM index_versions WHERE id = $1", [id]);
  }

  async pending(query: {
    versionId: string;
    after: number;
    limit: number;
  }): Promise<PendingChunk[]> {
    const { rows } = await this.#pool.query<ChunkRow>(
      `SELECT ${chunkColumns} FROM chunks c JOIN documents d ON d.id = c.document_id
       WHERE c.sequence > $1 AND NOT EXISTS (
         SELECT 1 FROM vectors v WHERE v.chunk_sequence = c.sequence AND v.version_id = $2)
       ORDER BY c.sequence LIMIT $3`,
      [query.after, query.versionId, query.limit],
    );
    return rows.map((row) => ({ ...toStoredChunk(row), sequence: Number(row.sequence) }));
  }

  async put(versionId: string, vectors: readonly ChunkVector[]): Promise<string[]> {
    const version = (await this.versions()).find(({ id }) => id === versionId);
    if (version === undefined) throw notFound("index version", versionId);
    for (const { vector } of vectors) checkDimensions(version, vector);
    const { rows } = await this.#pool.query<{ id: string }>(
      // FOR KEY SHARE waits for a document that is being replaced, and sees what is left of it.
      `WITH given AS (SELECT * FROM unnest($2::text[], $3::bytea[]) AS g (id, vector)),
       there AS (
         SELECT c.sequence, c.id FROM chunks c WHERE c.id IN (SELECT id FROM given)
         ORDER BY c.sequence FOR KEY SHARE
       ), kept AS (
         INSERT INTO vectors (chunk_sequence, version_id, vector)
         SELECT there.sequence, $1, given.vector FROM there JOIN given USING (id)
         ON CONFLICT (chunk_sequence, version_id) DO UPDATE SET vector = excluded.vector
       )
       SELECT id FROM there`,
      [
        versionId,
        vectors.map(({ chunkId }) => chunkId),
        vectors.map(({ vector }) => Buffer.from(toBytes(vector))),
      ],
    );
    return rows.map(({ id }) => id);
  }

  async count(versionId: string): Promise<number> {
    const { rows } = await this.#pool.query<{ n: string }>(
      "SELECT count(*) AS n FROM vectors WHERE version_id = $1",
      [versionId],
    );
    return Number(rows[0]?.n ?? 0);
  }

  async ids(versionId: string, after: string, limit: number): Promise<string[]> {
    const { rows } = await this.#pool.query<{ id: string }>(
      `SELECT c.id FROM chunks c
       WHERE c.id > $1 AND EXISTS (
         SELECT 1 FROM vectors v WHERE v.chunk_sequence = c.sequence AND v.version_id = $2)
       ORDER BY c.id LIMIT $3`,
      [after, versionId, limit],
    );
    return rows.map(({ id }) => id);
  }

  async get(versionId: string, chunkIds: readonly string[]): Promise<ChunkVector[]> {
    const { rows } = await this.#pool.query<{ id: string; vector: Uint8Array }>(
      `SELECT c.id, v.vector FROM chunks c
       JOIN vectors v ON v.chunk_sequence = c.sequence AND v.version_id = $1
       WHERE c.id = ANY ($2::text[])`,
      [versionId, chunkIds],
    );
    return rows.map(({ id, vector }) => ({ chunkId: id, vector: fromBytes(vector) }));
  }
}
