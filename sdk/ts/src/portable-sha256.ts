/** Owns SHA-256 over pieces for every runtime; WebCrypto only has it for a whole. */
import { sha256 } from "@noble/hashes/sha2.js";
import { bytesToHex } from "@noble/hashes/utils.js";
import type { CreateSha256 } from "./sha256.ts";

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
