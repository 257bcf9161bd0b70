/**
 * Reads exact amounts from a stream of buffers. What the bytes mean is left to
 * the caller.
 */

/** A pull reader over buffers; holds at most one chunk more than was asked for. */
export class ByteReader {
  readonly #source: AsyncIterator<Uint8Array>;
  #rest: Buffer = Buffer.alloc(0);
  #ended = false;

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  /** Exactly `size` bytes; fewer only where the stream ends before. */
  async exact(size: number): Promise<Buffer> {
    const parts: Buffer[] = [];
    let missing = size;
    for await (const part of this.take(size)) {
      parts.push(part);
      missing -= part.length;
    }
    return parts.length === 1 && missing === 0 && parts[0] !== undefined
      ? parts[0]
      : Buffer.concat(parts);
  }

  /** The next `size` bytes as they come; fewer only where the stream ends before. */
  async *take(size: number): AsyncGenerator<Buffer> {
    let missing = size;
    while (missing > 0 && (await this.#fill())) {
      const part = this.#rest.subarray(0, missing);
      this.#rest = this.#rest.subarray(part.length);
      missing -= part.length;
      yield part;
    }
  }

  /** Everything up to the end, thrown away. */
  async drain(): Promise<void> {
    while (await this.#fill()) this.#rest = Buffer.alloc(0);
  }

  async #fill(): Promise<boolean> {
    while (this.#rest.length === 0 && !this.#ended) {
      const next = await this.#source.next();
      if (next.done) this.#ended = true;
      else this.#rest = Buffer.from(next.value.buffer, next.value.byteOffset, next.value.length);
    }
    return this.#rest.length > 0;
  }
}
