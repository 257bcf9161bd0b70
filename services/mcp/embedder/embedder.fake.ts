/** An embedder without a model: texts that share words get vectors that are near. */
import { createHash } from "node:crypto";
import { DevmeshError } from "@devmesh/mesh/errors";
import { wordsOf } from "../documents/words.ts";
import type { Embedded, Embedder, EmbedOptions } from "./embedder.ts";

/** What a fake embedder is made from. */
export interface FakeEmbedderOptions {
  /** Default: `fake/words`. */
  readonly model?: string;
  /** Default: 64. */
  readonly dimensions?: number;
}

/** Hashes each word to a direction and adds them up: deterministic, and a real vector space. */
export class FakeEmbedder implements Embedder {
  readonly maxTexts = 64;
  readonly model: string;
  readonly dimensions: number;

  constructor({ model = "fake/words", dimensions = 64 }: FakeEmbedderOptions = {}) {
    this.model = model;
    this.dimensions = dimensions;
  }

  async embed(texts: readonly string[], options: EmbedOptions): Promise<Embedded> {
    options.signal.throwIfAborted();
    const { model, dimensions } = this;
    if (options.model !== undefined && options.model !== model) {
      throw new DevmeshError("MODEL_NOT_FOUND", `there is no model ${options.model}`);
    }
    return { model, dimensions, vectors: texts.map((text) => this.#vector(text)) };
  }

  #vector(text: string): Float32Array {
    const vector = new Float32Array(this.dimensions);
    for (const word of ["", ...wordsOf(text)]) {
      const hash = createHash("sha256").update(`${this.model} ${word}`).digest();
      for (let i = 0; i < 4; i++) {
        const at = hash.readUInt32LE(i * 8) % this.dimensions;
        vector[at] = (vector[at] ?? 0) + ((hash[i * 8 + 4] ?? 0) % 2 === 0 ? 1 : -1);
      }
    }
    return normalised(vector);
  }
}

function normalised(vector: Float32Array): Float32Array {
  const length = Math.hypot(...vector);
  if (length === 0) vector[0] = 1;
  return length === 0 ? vector : vector.map((value) => value / length);
}
