/** Owns the keys that make a call safe to repeat. */

/** A new random key of 128 bits. Works in insecure browser contexts too. */
export function createIdempotencyKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
