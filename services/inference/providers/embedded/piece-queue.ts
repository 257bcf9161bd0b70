/** Pieces on their way from a callback to a loop, in order, until an end or an error. */

/** One producer, one consumer. What comes after the end is dropped. */
export class PieceQueue<Piece> implements AsyncIterable<Piece> {
  readonly #pieces: Piece[] = [];
  #outcome: { readonly error: Error | undefined } | undefined;
  #wake: (() => void) | undefined;

  /** Adds a piece. */
  push(piece: Piece): void {
    if (this.#outcome !== undefined) return;
    this.#pieces.push(piece);
    this.#wake?.();
  }

  /** The consumer's loop ends after the pieces that are there. */
  end(): void {
    this.#outcome ??= { error: undefined };
    this.#wake?.();
  }

  /** The consumer's loop throws at once; pieces that were not taken are dropped. */
  fail(error: Error): void {
    this.#outcome ??= { error };
    if (this.#outcome.error !== undefined) this.#pieces.length = 0;
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Piece> {
    for (;;) {
      const piece = this.#pieces.shift();
      if (piece !== undefined) {
        yield piece;
        continue;
      }
      if (this.#outcome?.error !== undefined) throw this.#outcome.error;
      if (this.#outcome !== undefined) return;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.#wake = undefined;
    }
  }
}
