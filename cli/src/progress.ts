/** Owns the bar of a long transfer; only a person at a terminal sees it. */
import type { Output } from "./output.ts";
import { formatBytes } from "./table.ts";

const width = 24;

/** Tells how far a transfer is. */
export class Progress {
  readonly #output: Output;
  readonly #label: string;
  #shown = -1;

  /** `label` says what is going on. */
  constructor(output: Output, label: string) {
    this.#output = output;
    this.#label = label;
  }

  /** Draws the bar anew where it has changed. */
  update(done: number, total: number): void {
    if (!this.#output.isInteractive || this.#output.json) return;
    const filled = total === 0 ? width : Math.floor((done / total) * width);
    if (filled === this.#shown) return;
    this.#shown = filled;
    const bar = "█".repeat(filled) + "░".repeat(width - filled);
    void this.#output.raw(`\r${this.#label} ${bar} ${formatBytes(done)} of ${formatBytes(total)}`);
  }

  /** Takes the bar away. */
  end(): void {
    if (this.#shown >= 0) void this.#output.raw("\r\u001b[2K");
    this.#shown = -1;
  }
}
