/** Owns SHA-256 over pieces; WebCrypto only has it for a whole. */
import { sha256 } from "@noble/hashes/sha2.js";
import { bytesToHex } from "@noble/hashes/utils.js";

/** A digest in the making. */
export interface Sha256 {
  /** Adds bytes. */
  update(data: Uint8Array): void;
  /** Ends it; lower-case hex. */
  hex(): string;
}

/** Starts a digest. */
export type CreateSha256 = () => Sha256;

/** Works in every runtime. */
export const createPortableSha256: CreateSha256 = () => {
  const hash = sha256.create();
  return {
    update: (data) => {
      hash.update(data);
    },
    hex: () => bytesToHex(hash.digest()),
  };
};
