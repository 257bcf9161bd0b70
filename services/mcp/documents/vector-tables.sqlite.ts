/** Index versions and vectors in the SQLite context store. */
import type { DatabaseSync, StatementSync } from "node:sqlite";
import { inTransaction } from "@devmesh/mesh/database";
import { notFound } from "@devmesh/mesh/errors";
import { checkDimensions, type IndexVersion, type VectorSpace } from "../vectors/index-version.ts";
import { fromBytes, toBytes } from "../vectors/vector-bytes.ts";
import { type ChunkRow, chunkColumns, toStoredChunk } from "./chunk-row.ts";
import type { ChunkVector, PendingChunk } from "./context-store.ts";

/** The part of the store that keeps versions and vectors; see `ContextStore` for each call. */
export class VectorTables {
  readonly #db: DatabaseSync;
  readonly #prepare: (sql: string) => StatementSync;

  constructor(db: DatabaseSync, prepare: (sql: string) => StatementSync) {
    this.#db = db;
    this.#prepare = prepare;
  }

  versions(): IndexVersion[] {
    return this.#prepare(
      "SELECT id, model, dimensions, state FROM index_versions ORDER BY created_at, id",
    ).all() as unknown as IndexVersion[];
  }

  add(space: VectorSpace): void {
    this.#prepare(`
      INSERT INTO index_versions (id, model, dimensions, state) VALUES (?1, ?2, ?3, 'building')
      ON CONFLICT (id) DO NOTHING
    `).run(space.id, space.model, space.dimensions);
  }

  promote(id: string): void {
    inTransaction(this.#db, () => {
      this.#prepare("UPDATE index_versions SET state = 'building' WHERE state = 'current'").run();
      const { changes } = this.#prepare(
        "UPDATE index_versions SET state = 'current' WHERE id = ?1",
      ).run(id);
      if (changes === 0) throw notFound("index version", id);
    });
  }

  drop(id: string): void {
    this.#prepare("DELETE FROM index_versions WHERE id = ?1").run(id);
  }

  pending(query: { versionId: string; after: number; limit: number }): PendingChunk[] {
    const rows = this.#prepare(`
      SELECT ${chunkColumns} FROM chunks c JOIN documents d ON d.id = c.document_id
      WHERE c.sequence > ?1 AND NOT EXISTS (
        SELECT 1 FROM vectors v WHERE v.chunk_sequence = c.sequence AND v.version_id = ?2)
      ORDER BY c.sequence LIMIT ?3
    `).all(query.after, query.versionId, query.limit) as unknown as ChunkRow[];
    return rows.map((row) => ({ ...toStoredChunk(row), sequence: Number(row.sequence) }));
  }

  put(versionId: string, vectors: readonly ChunkVector[]): string[] {
    return inTransaction(this.#db, () => {
      const version = this.versions().find(({ id }) => id === versionId);
      if (version === undefined) throw notFound("index version", versionId);
      const insert = this.#prepare(`
        INSERT INTO vectors (chunk_sequence, version_id, vector)
        SELECT sequence, ?1, ?2 FROM chunks WHERE id = ?3
        ON CONFLICT (chunk_sequence, version_id) DO UPDATE SET vector = excluded.vector
      `);
      return vectors
        .filter(({ chunkId, vector }) => {
          checkDimensions(version, vector);
          return insert.run(versionId, toBytes(vector), chunkId).changes === 1;
        })
        .map(({ chunkId }) => chunkId);
    });
  }

  count(versionId: string): number {
    const { n } = this.#prepare("SELECT count(*) AS n FROM vectors WHERE version_id = ?1").get(
      versionId,
    ) as { n: number };
    return n;
  }

  ids(versionId: string, after: string, limit: number): string[] {
    const rows = this.#prepare(`
      SELECT c.id FROM chunks c
      WHERE c.id > ?1 AND EXISTS (
        SELECT 1 FROM vectors v WHERE v.chunk_sequence = c.sequence AND v.version_id = ?2)
      ORDER BY c.id LIMIT ?3
    `).all(after, versionId, limit) as { id: string }[];
    return rows.map(({ id }) => id);
  }

  get(versionId: string, chunkIds: readonly string[]): ChunkVector[] {
    const rows = this.#prepare(`
      SELECT c.id, v.vector FROM json_each(?2) AS wanted
      JOIN chunks c ON c.id = wanted.value
      JOIN vectors v ON v.chunk_sequence = c.sequence AND v.version_id = ?1
    `).all(versionId, JSON.stringify(chunkIds)) as { id: string; vector: Uint8Array }[];
    return rows.map(({ id, vector }) => ({ chunkId: id, vector: fromBytes(vector) }));
  }
}
