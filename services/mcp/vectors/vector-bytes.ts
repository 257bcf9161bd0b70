/** Vectors as bytes: 32-bit floats, little-endian, whatever the machine. */
import { endianness } from "node:os";

const isLittleEndian = endianness() === "LE";

/** The bytes of a vector. */
export function toBytes(vector: Float32Array): Uint8Array {
  const copy = new Uint8Array(vector.byteLength);
  copy.set(new Uint8Array(vector.buffer, vector.byteOffset, vector.byteLength));
  if (!isLittleEndian) Buffer.from(copy.buffer).swap32();
  return copy;
}

/** The vector of bytes that `toBytes` made. */
export function fromBytes(bytes: Uint8Array): Float32Array {
  const copy = new Uint8Array(bytes);
  if (!isLittleEndian) Buffer.from(copy.buffer).swap32();
  return new Float32Array(copy.buffer);
}

/** The dot product: for vectors of length 1 their cosine. */
export function dot(a: Float32Array, b: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i] ?? 0) * (b[i] ?? 0);
  return sum;
}
