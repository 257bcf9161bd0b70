/**
 * One HNSW graph of usearch and the names of what is in it, in memory and on
 * disk. It blocks while it works: it lives on the thread of `usearch-worker.ts`.
 */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Index, MetricKind, ScalarKind } from "usearch";
import type { ChunkVector, RankedChunk } from "../../documents/context-store.ts";
import type { VectorSpace } from "../index-version.ts";

/** Written last: without it, or with another checksum in it, the graph's file does not count. */
interface Manifest {
  readonly format: 1;
  readonly sha256: string;
  readonly nextKey: number;
  readonly keys: readonly (readonly [id: string, key: number])[];
}

/** Fewer changes than these are not worth a save before the end. */
const minChangesToSave = 2_000;

/** A graph that is loaded from its folder, or empty. */
export class UsearchCollection {
  readonly #folder: string;
  readonly #index: Index;
  readonly #keys = new Map<string, bigint>();
  readonly #ids = new Map<bigint, string>();
  #nextKey = 0n;
  #changes = 0;

  constructor(root: string, space: VectorSpace) {
    this.#folder = join(root, space.id);
    this.#index = new Index({
      dimensions: space.dimensions,
      metric: MetricKind.Cos,
      quantization: ScalarKind.F16,
      connectivity: 16,
      expansion_add: 128,
      expansion_search: 128,
      multi: false,
    });
    this.#load();
  }

  get size(): number {
    return this.#keys.size;
  }

  ids(): string[] {
    return [...this.#keys.keys()];
  }

  /** Adds or replaces one vector: some hundred microseconds. */
  put({ chunkId, vector }: ChunkVector): void {
    this.remove(chunkId);
    const key = this.#nextKey;
    this.#nextKey += 1n;
    this.#index.add(key, vector, 1);
    this.#keys.set(chunkId, key);
    this.#ids.set(key, chunkId);
    this.#changes += 1;
  }

  remove(id: string): void {
    const key = this.#keys.get(id);
    if (key === undefined) return;
    this.#index.remove(key);
    this.#keys.delete(id);
    this.#ids.delete(key);
    this.#changes += 1;
  }

  search(vector: Float32Array, limit: number): RankedChunk[] {
    const count = Math.min(limit, this.size);
    if (count === 0) return [];
    const { keys, distances } = this.#index.search(vector, count, 1);
    return [...keys].flatMap((key, i) => {
      const id = this.#ids.get(key);
      return id === undefined ? [] : [{ id, score: 1 - (distances[i] ?? 0) }];
    });
  }

  /** True when a crash now would cost a long rebuild. */
  get isWorthSaving(): boolean {
    return this.#changes >= Math.max(minChangesToSave, this.size / 4);
  }

  /** Replaces what is on disk, if anything changed. */
  save(): void {
    if (this.#changes === 0) return;
    mkdirSync(this.#folder, { recursive: true, mode: 0o700 });
    rmSync(this.#manifestPath, { force: true });
    const fresh = `${this.#graphPath}.new`;
    this.#index.save(fresh);
    const manifest: Manifest = {
      format: 1,
      sha256: checksum(fresh),
      nextKey: Number(this.#nextKey),
      keys: [...this.#keys].map(([id, key]) => [id, Number(key)]),
    };
    renameSync(fresh, this.#graphPath);
    writeFileSync(`${this.#manifestPath}.new`, JSON.stringify(manifest));
    renameSync(`${this.#manifestPath}.new`, this.#manifestPath);
    this.#changes = 0;
  }

  /** Removes what is on disk. */
  drop(): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }

  get #graphPath(): string {
    return join(this.#folder, "graph.usearch");
  }

  get #manifestPath(): string {
    return join(this.#folder, "manifest.json");
  }

  #load(): void {
    const manifest = readManifest(this.#manifestPath);
    // A damaged graph must not reach the native code: it trusts what it loads.
    if (manifest === undefined || !existsSync(this.#graphPath)) return;
    if (checksum(this.#graphPath) !== manifest.sha256) return;
    this.#index.load(this.#graphPath);
    this.#nextKey = BigInt(manifest.nextKey);
    for (const [id, key] of manifest.keys) {
      this.#keys.set(id, BigInt(key));
      this.#ids.set(BigInt(key), id);
    }
  }
}

function checksum(path: string): string {
  return createHash("sha256").update(readFileSync(path)).digest("hex");
}

function readManifest(path: string): Manifest | undefined {
  if (!existsSync(path)) return undefined;
  try {
    const parsed: unknown = JSON.parse(readFileSync(path, "utf8"));
    return isManifest(parsed) ? parsed : undefined;
  } catch (error: unknown) {
    // Half a file: the graph is filled again from the context store.
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

function isManifest(value: unknown): value is Manifest {
  return typeof value === "object" && value !== null && "format" in value && value.format === 1;
}
