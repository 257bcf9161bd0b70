/** Adds up what is in an archive, for who writes it and for who checks it. */
import { createHash } from "node:crypto";
import type { TableSummary } from "./manifest.ts";

/** Adds up the parts of a table. */
export class TableTally {
  readonly name: string;
  #rows = 0;
  #parts = 0;
  readonly #hash = createHash("sha256");

  constructor(name: string) {
    this.name = name;
  }

  /** The number of the next part. */
  get nextPart(): number {
    return this.#parts + 1;
  }

  add(data: Uint8Array): void {
    for (let at = data.indexOf(10); at >= 0; at = data.indexOf(10, at + 1)) this.#rows += 1;
    this.#parts += 1;
    this.#hash.update(data);
  }

  /** May be asked at any time. */
  summary(): TableSummary {
    const sha256 = this.#hash.copy().digest("hex");
    return { name: this.name, rows: this.#rows, parts: this.#parts, sha256 };
  }
}

/** Adds up blobs. */
export class BlobTally {
  #count = 0;
  #bytes = 0;
  readonly #names = createHash("sha256");

  add(sha256: string, bytes: number): void {
    this.#count += 1;
    this.#bytes += bytes;
    this.#names.update(`${sha256}\n`);
  }

  /** May be asked at any time. */
  summary(): { count: number; bytes: number; sha256: string } {
    const sha256 = this.#names.copy().digest("hex");
    return { count: this.#count, bytes: this.#bytes, sha256 };
  }
}
