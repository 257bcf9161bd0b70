/** Cuts a stream of bytes into lines; what is too long for one is passed on as it comes. */

const lineFeed = 0x0a;

/** A piece of a stream: a whole line with its end, or bytes of one that is too long. */
export type LinePart =
  | { readonly type: "line"; readonly bytes: Buffer }
  | { readonly type: "bytes"; readonly bytes: Buffer };

/** Splits one stream. */
export class LineSplitter {
  readonly #maxBytes: number;
  #kept: Buffer[] = [];
  #keptBytes = 0;
  /** True: the line that is being read was too long, and its rest is passed on. */
  #isLong = false;

  /** `maxBytes`: the longest line. */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** What a chunk completes, in order. */
  push(chunk: Buffer): LinePart[] {
    const parts: LinePart[] = [];
    let rest = chunk;
    while (rest.length > 0) {
      const at = rest.indexOf(lineFeed);
      const end = at === -1 ? rest.length : at + 1;
      // Copied: it outlives the reader's chunk.
      this.#kept.push(Buffer.from(rest.subarray(0, end)));
      this.#keptBytes += end;
      rest = rest.subarray(end);
      if (this.#keptBytes > this.#maxBytes) this.#isLong = true;
      if (at === -1 && !this.#isLong) continue;
      const bytes = this.end();
      parts.push({ type: this.#isLong ? "bytes" : "line", bytes });
      if (at !== -1) this.#isLong = false;
    }
    return parts;
  }

  /** What is left at the end: a line without its end. */
  end(): Buffer {
    const left = Buffer.concat(this.#kept);
    this.#kept = [];
    this.#keptBytes = 0;
    return left;
  }
}
