/** The port behind which blobs live, named by the SHA-256 of their content. */

/** Blobs. */
export interface BlobStore {
  /**
   * Stores a stream under its SHA-256 (hex). A blob that is there already is
   * left as it is. Throws INVALID_FIELD if the content has another hash,
   * TOO_LARGE beyond the store's limit; neither leaves anything behind. A
   * blob is visible only when it is whole and durable.
   */
  put(sha256: string, data: AsyncIterable<Uint8Array>): Promise<{ sizeBytes: number }>;
  /** Its size, or undefined. */
  stat(sha256: string): Promise<number | undefined>;
  /** Its bytes in pieces of at most 256 KiB. Throws NOT_FOUND. */
  get(sha256: string): AsyncIterable<Uint8Array>;
  /** The names of all blobs that were there when it was asked, in their order. */
  list(): AsyncIterable<string>;
}
