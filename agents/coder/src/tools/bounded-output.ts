/** Keeps the head and the tail of output of any length, in bounded memory. */
import { leftOut } from "../text.ts";

/** Takes bytes as they come. */
export class BoundedOutput {
  readonly #half: number;
  readonly #head: Buffer[] = [];
  #headBytes = 0;
  #tail: Buffer[] = [];
  #tailBytes = 0;
  #totalBytes = 0;

  /** Keeps half of `maxBytes` from each end. */
  constructor(maxBytes: number) {
    this.#half = Math.floor(maxBytes / 2);
  }

  /** How many bytes came in all. */
  get totalBytes(): number {
    return this.#totalBytes;
  }

  /** Takes a piece. */
  add(piece: Buffer): void {
    this.#totalBytes += piece.length;
    const toHead = piece.subarray(0, this.#half - this.#headBytes);
    if (toHead.length > 0) {
      this.#head.push(toHead);
      this.#headBytes += toHead.length;
    }
    const rest = piece.subarray(toHead.length);
    if (rest.length === 0) return;
    this.#tail.push(rest);
    this.#tailBytes += rest.length;
    // Joined only now and then: each byte is copied a bounded number of times.
    if (this.#tailBytes > 4 * this.#half + 4096 || this.#tail.length > 1024) this.#trim();
  }

  /** The text; bytes that are no UTF-8, also at the cut, become U+FFFD. */
  text(): string {
    this.#trim();
    const left = this.#totalBytes - this.#headBytes - this.#tailBytes;
    if (left === 0) return Buffer.concat([...this.#head, ...this.#tail]).toString("utf8");
    const head = Buffer.concat(this.#head).toString("utf8");
    return `${head}${leftOut(left)}${Buffer.concat(this.#tail).toString("utf8")}`;
  }

  #trim(): void {
    const all = Buffer.concat(this.#tail);
    // A copy, so that the rest of a large piece is not kept alive by its end.
    const kept = Buffer.from(all.subarray(Math.max(0, all.length - this.#half)));
    this.#tail = [kept];
    this.#tailBytes = kept.length;
  }
}
