/** Reads the name of the host out of the first message of a TLS connection, however it is cut into pieces. */
import { isHostName } from "./host-name.ts";

/** What the bytes so far say. */
export type HelloReading =
  /** More bytes are needed. */
  | { readonly state: "more" }
  /** The host's name, in lower case. */
  | { readonly state: "name"; readonly name: string }
  | { readonly state: "refused"; readonly why: "NO_TLS" | "NO_SNI"; readonly detail: string };

/** More bytes than this make no first message. */
const maxHelloBytes = 64 * 1024;

const handshakeRecord = 22;
const clientHello = 1;
const serverNameExtension = 0;
const hostNameType = 0;

/**
 * Reads a ClientHello from its first byte on. Where the client encrypts the
 * true name (ECH), this is the outer one, which is all that can be seen.
 */
export function readClientHello(bytes: Buffer): HelloReading {
  const records = joinRecords(bytes);
  if (typeof records === "string") return { state: "refused", why: "NO_TLS", detail: records };
  const { data } = records;
  if (data.length > 0 && data[0] !== clientHello) return notTls("it is no ClientHello");
  const length = data.length < 4 ? undefined : data.readUIntBE(1, 3);
  if (length !== undefined && length > maxHelloBytes) return notTls("its ClientHello is too long");
  if (length === undefined || data.length < 4 + length) {
    return bytes.length < maxHelloBytes ? { state: "more" } : notTls("it has no end");
  }
  try {
    return readBody(new Reader(data.subarray(4, 4 + length)));
  } catch (error) {
    if (error instanceof ShortMessage) return notTls("its ClientHello is broken");
    throw error;
  }
}

function notTls(detail: string): HelloReading {
  return { state: "refused", why: "NO_TLS", detail };
}

function noName(detail: string): HelloReading {
  return { state: "refused", why: "NO_SNI", detail };
}

/** The content of the handshake records that are whole; why it is no TLS where it is none. */
function joinRecords(bytes: Buffer): { readonly data: Buffer } | string {
  const parts: Buffer[] = [];
  let at = 0;
  while (at < bytes.length) {
    if (bytes[at] !== handshakeRecord) return "it does not begin with a TLS handshake";
    if (at + 1 < bytes.length && bytes[at + 1] !== 3) return "it is of no known TLS version";
    if (at + 5 > bytes.length) break;
    const length = bytes.readUInt16BE(at + 3);
    if (length === 0 || length > 16_384) return "a TLS record in it has no possible length";
    parts.push(bytes.subarray(at + 5, at + 5 + length));
    at += 5 + length;
    // What comes behind the first message is not looked at.
    if (isWhole(parts)) break;
  }
  return { data: Buffer.concat(parts) };
}

function isWhole(parts: readonly Buffer[]): boolean {
  const data = parts.length === 1 && parts[0] !== undefined ? parts[0] : Buffer.concat(parts);
  return data.length >= 4 && data.length >= 4 + data.readUIntBE(1, 3);
}

function readBody(hello: Reader): HelloReading {
  hello.skip(2 + 32);
  hello.block(1);
  hello.block(2);
  hello.block(1);
  if (hello.left === 0) return noName("it has no extensions");
  const extensions = hello.block(2);
  if (hello.left > 0) throw new ShortMessage();
  let found: Reader | undefined;
  while (extensions.left > 0) {
    const type = extensions.number(2);
    const content = extensions.block(2);
    if (type !== serverNameExtension) continue;
    if (found !== undefined) return noName("it names its host twice");
    found = content;
  }
  if (found === undefined) return noName("it does not name its host");
  return readServerName(found);
}

function readServerName(extension: Reader): HelloReading {
  const list = extension.block(2);
  if (extension.left > 0) throw new ShortMessage();
  let name: string | undefined;
  while (list.left > 0) {
    const type = list.number(1);
    const value = list.block(2).rest().toString("latin1").toLowerCase();
    if (type !== hostNameType || name !== undefined) return noName("it names more than a host");
    name = value;
  }
  if (name === undefined) return noName("it does not name its host");
  if (!isHostName(name)) return noName("what it names is no host's name");
  return { state: "name", name };
}

class ShortMessage extends Error {}

/** Reads numbers and blocks off the front. Throws `ShortMessage` where there are too few bytes. */
class Reader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get left(): number {
    return this.#bytes.length - this.#at;
  }

  skip(count: number): void {
    if (count > this.left) throw new ShortMessage();
    this.#at += count;
  }

  number(size: 1 | 2): number {
    const at = this.#at;
    this.skip(size);
    return this.#bytes.readUIntBE(at, size);
  }

  /** A block behind its own length of 1 or 2 bytes. */
  block(size: 1 | 2): Reader {
    const length = this.number(size);
    const at = this.#at;
    this.skip(length);
    return new Reader(this.#bytes.subarray(at, at + length));
  }

  rest(): Buffer {
    return this.#bytes.subarray(this.#at);
  }
}
