/** The SHA-256 and size of one attempt's log, in the order in which it is shipped. */
import { createHash } from "node:crypto";

/** Sums up a log. */
export class LogDigest {
  readonly #hash = createHash("sha256");
  #bytes = 0n;

  /** Takes the next bytes. */
  update(data: Uint8Array): void {
    this.#hash.update(data);
    this.#bytes += BigInt(data.length);
  }

  /** The log so far. */
  current(): { logSha256: string; logBytes: bigint } {
    return { logSha256: this.#hash.copy().digest("hex"), logBytes: this.#bytes };
  }
}
