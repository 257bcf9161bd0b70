/** HTTP/2 frames by hand, for what no client sends. */

/** Frame types (RFC 9113 §6). */
export const frameType = { data: 0, headers: 1, reset: 3, settings: 4, ping: 6, continuation: 9 };

/** Flags of HEADERS, CONTINUATION and DATA. */
export const flag = { endStream: 1, endHeaders: 4 };

const preface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");

/** What a client says first: the preface and its settings, all at their defaults. */
export const greeting = Buffer.concat([preface, http2Frame(frameType.settings, 0, 0)]);

/** One frame. */
export function http2Frame(
  type: number,
  flags: number,
  stream: number,
  payload: Uint8Array = Buffer.alloc(0),
): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** A header block in which nothing is indexed (RFC 7541 §6.2.2). */
export function headerBlock(headers: Readonly<Record<string, string>>): Buffer {
  return Buffer.concat(
    Object.entries(headers).flatMap(([name, value]) => [
      Buffer.of(0),
      literal(name),
      literal(value),
    ]),
  );
}

/** HEADERS of a call with the whole block in it. */
export function headersFrame(stream: number, headers: Readonly<Record<string, string>>): Buffer {
  return http2Frame(frameType.headers, flag.endHeaders, stream, headerBlock(headers));
}

/** A text behind its length, which has a prefix of 7 bits (RFC 7541 §5.1). */
function literal(text: string): Buffer {
  const bytes = Buffer.from(text);
  const head: number[] = [];
  let rest = bytes.length;
  if (rest < 127) head.push(rest);
  else {
    head.push(127);
    rest -= 127;
    for (; rest >= 128; rest = Math.floor(rest / 128)) head.push((rest % 128) + 128);
    head.push(rest);
  }
  return Buffer.concat([Buffer.from(head), bytes]);
}
