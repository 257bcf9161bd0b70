/**
 * Owns the frames between the host and a sandbox's resident: their form, their meaning, their
 * bounds. The other end is `resident.pl`. The sandbox is not trusted: whatever breaks the
 * form or a bound ends it.
 *
 * Frame: u32 length of the payload, u8 type, u32 stream, payload; big endian. A list is a
 * sequence of (u32 length, bytes).
 */

/** The types of frames. Stream 0 is the resident itself. */
export const frameType = {
  /**
   * To the resident: a list of settings, each a word and its values: `clock` seconds nanoseconds,
   * `limits` memory bytes, pids, CPU µs per 100 ms, `mount` serial path kind (guests have these
   * three), `door` name port (0: none), `end-programs` (all but the resident is gone once it
   * holds). May come again.
   */
  config: 1,
  /** From the resident: it runs and takes frames. */
  hello: 2,
  /** From the resident: everything that the configuration asks for holds. One for each. */
  ready: 3,
  /** To the resident: start a program (a list). From it: a connection to the door of that name. */
  open: 4,
  /** From the resident: the program runs. */
  started: 5,
  /** From the resident: it does not, or a configuration does not hold; a list of stage, errno, text. */
  failed: 6,
  /** Standard input and output of a program, and both ways of a connection. */
  data: 7,
  /** From the resident: standard error. */
  stderr: 8,
  /** No more data will come from this side. */
  eof: 9,
  /** u32: so many more bytes may be sent on this stream. */
  credit: 10,
  /** To the resident: u8, a signal for a program and all its children. */
  signal: 11,
  /** From the resident: u32 exit status, u8 caps that were met (`metFlag`). */
  exit: 12,
  /** The stream is given up: nothing of it will be sent or read. */
  close: 13,
  /**
   * To the resident: what to read, a path or `statfs:` and a path. From it: u32 errno and the
   * content: of a file at most `chunkBytes`, a link's target, a folder's names one a line, or
   * block size, blocks, free blocks, nodes and free nodes.
   */
  read: 14,
} as const;

/** The caps in an `exit` frame, as far as the resident's own kernel shows them. */
export const metFlag = { memory: 1, pids: 2, disk: 4 } as const;

/** One of the types of frames. */
export type FrameType = (typeof frameType)[keyof typeof frameType];

/** One frame. */
export interface Frame {
  readonly type: number;
  readonly stream: number;
  readonly payload: Buffer;
}

/** How many bytes a side may send on a stream before it gets credit. */
export const windowBytes = 262_144;

/** How many bytes of data a frame carries at most. */
export const chunkBytes = 32_768;

/** Streams with this number and above are opened by the resident. */
export const firstResidentStream = 0x8000_0000;

const headerBytes = 9;
const maxPayloadBytes = 65_536;

/** A frame as bytes. */
export function encodeFrame(type: FrameType, stream: number, payload: Buffer = empty): Buffer {
  const frame = Buffer.allocUnsafe(headerBytes + payload.length);
  frame.writeUInt32BE(payload.length, 0);
  frame.writeUInt8(type, 4);
  frame.writeUInt32BE(stream, 5);
  payload.copy(frame, headerBytes);
  return frame;
}

/** A list as bytes. */
export function encodeList(items: readonly (string | number)[]): Buffer {
  const pieces: Buffer[] = [];
  for (const item of items) {
    const bytes = Buffer.from(String(item));
    pieces.push(encodeU32(bytes.length), bytes);
  }
  return Buffer.concat(pieces);
}

/** The items of a list. Throws when the bytes are none. */
export function decodeList(bytes: Buffer): string[] {
  const items: string[] = [];
  for (let at = 0; at < bytes.length; ) {
    const end = at + 4 + bytes.readUInt32BE(at);
    if (end > bytes.length) throw new Error("a list item is longer than its list");
    items.push(bytes.toString("utf8", at + 4, end));
    at = end;
  }
  return items;
}

/** A u32 as bytes. */
export function encodeU32(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** Cuts a stream of bytes from a resident into frames; keeps less than one frame. */
export class FrameReader {
  #rest: Buffer = empty;

  /** The frames that are complete with these bytes. Throws when one is too large. */
  push(bytes: Buffer): Frame[] {
    const all = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes]);
    const frames: Frame[] = [];
    let at = 0;
    while (all.length - at >= headerBytes) {
      const size = all.readUInt32BE(at);
      if (size > maxPayloadBytes) throw new Error(`the resident sent a frame of ${size} bytes`);
      const end = at + headerBytes + size;
      if (end > all.length) break;
      frames.push({
        type: all.readUInt8(at + 4),
        stream: all.readUInt32BE(at + 5),
        payload: all.subarray(at + headerBytes, end),
      });
      at = end;
    }
    this.#rest = all.subarray(at);
    return frames;
  }
}

const empty = Buffer.alloc(0);
