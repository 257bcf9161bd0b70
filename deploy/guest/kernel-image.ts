/**
 * Owns the way from a compressed kernel (bzImage) to the plain ELF kernel in it, which
 * an emulated guest starts without unpacking it at a tenth of the host's speed.
 */
import { gunzipSync, zstdDecompressSync } from "node:zlib";

const elfMagic = Buffer.from([0x7f, 0x45, 0x4c, 0x46]);
const gzipMagic = Buffer.from([0x1f, 0x8b, 0x08]);
const zstdMagic = Buffer.from([0x28, 0xb5, 0x2f, 0xfd]);
/** LZ4's legacy frame, the one that kernels use. */
const lz4Magic = Buffer.from([0x02, 0x21, 0x4c, 0x18]);
const lz4BlockBytes = 8 << 20;

/**
 * The ELF kernel inside `image`, or `image` itself when it is one already or is packed in
 * a way not known here (bzip2, xz); both start, the latter more slowly.
 */
export function unpackKernel(image: Buffer): Buffer {
  if (image.subarray(0, 4).equals(elfMagic)) return image;
  const ways: [Buffer, (payload: Buffer) => Buffer][] = [
    [lz4Magic, unpackLz4],
    [zstdMagic, zstdDecompressSync],
    [gzipMagic, gunzipSync],
  ];
  for (const [magic, unpack] of ways) {
    const start = image.indexOf(magic);
    if (start < 0) continue;
    try {
      const kernel = unpack(image.subarray(start, payloadEnd(image)));
      if (kernel.subarray(0, 4).equals(elfMagic)) return kernel;
    } catch (error: unknown) {
      // The magic turned up by chance in other bytes: that is no payload of this kind.
      if (!(error instanceof Error)) throw error;
    }
  }
  return image;
}

/** Where the payload ends, by the boot protocol's header (2.08 and newer). */
function payloadEnd(image: Buffer): number {
  const setupSectors = image.readUInt8(0x1f1) || 4;
  const offset = image.readUInt32LE(0x248);
  const length = image.readUInt32LE(0x24c);
  // The last four bytes are the unpacked size, which the kernel's build appends.
  return (setupSectors + 1) * 512 + offset + length - 4;
}

function unpackLz4(payload: Buffer): Buffer {
  const blocks: Buffer[] = [];
  let at = lz4Magic.length;
  while (at + 4 <= payload.length) {
    const size = payload.readUInt32LE(at);
    at += 4;
    if (size === 0 || at + size > payload.length) break;
    blocks.push(unpackLz4Block(payload.subarray(at, at + size)));
    at += size;
  }
  return Buffer.concat(blocks);
}

function unpackLz4Block(block: Buffer): Buffer {
  const out = Buffer.allocUnsafe(lz4BlockBytes);
  let from = 0;
  let to = 0;
  const more = (nibble: number): number => {
    let length = nibble;
    if (nibble !== 15) return length;
    for (;;) {
      const byte = block.readUInt8(from++);
      length += byte;
      if (byte !== 255) return length;
    }
  };
  while (from < block.length) {
    const token = block.readUInt8(from++);
    const literals = more(token >> 4);
    if (from + literals > block.length) throw new Error("LZ4: literals beyond the block");
    to += block.copy(out, to, from, from + literals);
    from += literals;
    if (from >= block.length) break;
    const distance = block.readUInt16LE(from);
    from += 2;
    const length = more(token & 15) + 4;
    if (distance === 0 || distance > to || to + length > out.length) {
      throw new Error("LZ4: a match outside of the block");
    }
    if (distance >= length) {
      out.copyWithin(to, to - distance, to - distance + length);
      to += length;
    } else {
      // The match overlaps what it writes, so it has to be copied byte by byte.
      for (const end = to + length; to < end; to++) out[to] = out.readUInt8(to - distance);
    }
  }
  return out.subarray(0, to);
}
