/** The port to whatever turns texts into vectors. */

/** How texts are to be embedded. */
export interface EmbedOptions {
  /** `query` for what is searched for, `document` for what is found. */
  readonly purpose: "document" | "query";
  /** `provider/name`. Default: whichever model is configured now. */
  readonly model?: string;
  /** True: only local providers may see the texts. */
  readonly localOnly: boolean;
  readonly signal: AbortSignal;
}

/** Vectors of one model. */
export interface Embedded {
  /** The model that made them, as `provider/name`. */
  readonly model: string;
  readonly dimensions: number;
  /** One for each text, in order, of length 1 (L2). */
  readonly vectors: readonly Float32Array[];
}

/** Embeds texts; the same text under the same model gives the same vector. */
export interface Embedder {
  /** The most texts in one call. */
  readonly maxTexts: number;

  /**
   * Embeds 1 to `maxTexts` texts. Throws NO_EMBEDDER, MODEL_NOT_FOUND,
   * PROVIDER_UNAVAILABLE, PROVIDER_PROTOCOL for vectors that do not fit the
   * answer, and the signal's reason when it aborts.
   */
  embed(texts: readonly string[], options: EmbedOptions): Promise<Embedded>;
}
