/** The port behind which SHA-256 over pieces lies. */

/** A digest in the making. */
export interface Sha256 {
  /** Adds bytes. */
  update(data: Uint8Array): void;
  /** Ends it; lower-case hex. */
  hex(): string;
}

/** Starts a digest. */
export type CreateSha256 = () => Sha256;

/** Gets the code that digests, when it is needed first: who verifies nothing does not load it. */
export type LoadSha256 = () => Promise<CreateSha256>;
