/** Cuts a scripted answer where a model would: at a stop text or at the most tokens. */

/** Counts words as tokens and remembers why it cut. */
export class TextLimit {
  readonly #maxTokens: number;
  readonly #stop: readonly string[];
  #tokens = 0;
  #reached: "stop" | "length" | undefined;

  constructor(maxTokens: number, stop: readonly string[]) {
    this.#maxTokens = maxTokens;
    this.#stop = stop;
  }

  /** Words so far. */
  get tokens(): number {
    return this.#tokens;
  }

  /** Why the answer must end here; undefined while it may go on. */
  get reached(): "stop" | "length" | undefined {
    return this.#reached;
  }

  /** As much of the text as may be said. */
  take(text: string): string {
    const ends = this.#stop.map((stop) => text.indexOf(stop)).filter((at) => at >= 0);
    const said = ends.length > 0 ? text.slice(0, Math.min(...ends)) : text;
    const words = said.match(/\s*\S+\s*/g) ?? [];
    const room = this.#maxTokens > 0 ? this.#maxTokens - this.#tokens : words.length;
    this.#tokens += Math.min(words.length, room);
    if (words.length > room) {
      this.#reached = "length";
      return words.slice(0, room).join("");
    }
    if (ends.length > 0) this.#reached = "stop";
    return said;
  }
}
