/** A blob store in memory. */
import { createHash } from "node:crypto";
import { invalidField, notFound } from "@devmesh/mesh/errors";

/** Content by its SHA-256. */
export class FakeBlobs {
  readonly #blobs = new Map<string, Uint8Array>();
  /** How often content was really sent. */
  puts = 0;

  /** Stores content; refuses it if it is not what `expected` says. */
  put(content: Uint8Array, expected?: string): string {
    const sha256 = createHash("sha256").update(content).digest("hex");
    if (expected !== undefined && expected !== sha256) {
      throw invalidField("sha256", "the content has another hash");
    }
    this.#blobs.set(sha256, content);
    return sha256;
  }

  /** Throws NOT_FOUND. */
  get(sha256: string): Uint8Array {
    const content = this.#blobs.get(sha256);
    if (content === undefined) throw notFound("blob", sha256);
    return content;
  }

  /** Undefined if it is not there. */
  find(sha256: string): Uint8Array | undefined {
    return this.#blobs.get(sha256);
  }

  /** For broken stores: other bytes under the same name. */
  forge(sha256: string, content: Uint8Array): void {
    this.#blobs.set(sha256, content);
  }
}
