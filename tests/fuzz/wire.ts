/** Protobuf's wire format by hand, so that it can be written wrongly too. */

/** Wire types (protobuf encoding, "Message Structure"). */
export const wireType = { varint: 0, fixed64: 1, bytes: 2, start: 3, end: 4, fixed32: 5 } as const;

/** A varint of up to 64 bits; negative numbers as their two's complement. */
export function varint(value: bigint | number): Buffer {
  let rest = BigInt.asUintN(64, BigInt(value));
  const out: number[] = [];
  while (rest > 127n) {
    out.push(Number(rest & 127n) | 128);
    rest >>= 7n;
  }
  out.push(Number(rest));
  return Buffer.from(out);
}

/** A field's tag. */
export function tag(number: number, type: number): Buffer {
  return varint((BigInt(number) << 3n) | BigInt(type));
}

/** A length-delimited field. */
export function delimited(number: number, bytes: Uint8Array): Buffer {
  return Buffer.concat([tag(number, wireType.bytes), varint(bytes.length), bytes]);
}

/** A 64-bit field with a double in it. */
export function doubleField(number: number, value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleLE(value);
  return Buffer.concat([tag(number, wireType.fixed64), bytes]);
}

/** A varint field. */
export function varintField(number: number, value: bigint | number): Buffer {
  return Buffer.concat([tag(number, wireType.varint), varint(value)]);
}

/** A signed number as `sint32` and `sint64` write it. */
export function zigzag(value: bigint): bigint {
  return value >= 0n ? value * 2n : -value * 2n - 1n;
}

/** A message in the frame of gRPC and of Connect's streams. */
export function frame(message: Uint8Array, flags = 0, length = message.length): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt8(flags);
  head.writeUInt32BE(length, 1);
  return Buffer.concat([head, message]);
}
