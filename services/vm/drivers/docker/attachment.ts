/**
 * The connection to a container's first program: its input, its output, and the last of what
 * it said on stderr. What is spoken on it is left to the resident's channel.
 */
import { Duplex } from "node:stream";

const headerBytes = 8;
const wordsBytes = 4096;

/** An engine's attached stream, without the headers that the engine puts into it. */
export class Attachment extends Duplex {
  readonly #stream: NodeJS.ReadWriteStream;
  #header = Buffer.alloc(0);
  #left = 0;
  #isError = false;
  #words = "";

  /** `stream` is what the engine answered to a request to attach, with stdin and both outputs. */
  constructor(stream: NodeJS.ReadWriteStream) {
    super();
    this.#stream = stream;
    stream.on("data", (bytes: Buffer) => this.#take(bytes));
    stream.on("end", () => this.push(null));
    stream.on("close", () => this.destroy());
    stream.on("error", (error) => this.destroy(error));
  }

  /** The last of what the first program said on stderr. */
  get lastWords(): string {
    return this.#words.trim();
  }

  override _read(): void {
    this.#stream.resume();
  }

  override _write(data: Buffer, _: BufferEncoding, done: (error?: Error | null) => void): void {
    if (this.#stream.write(data)) done();
    else this.#stream.once("drain", () => done());
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    if ("destroy" in this.#stream && typeof this.#stream.destroy === "function") {
      this.#stream.destroy();
    }
    done(error);
  }

  /** Header: u8 stream (2 is stderr), three zeros, u32 length; then so many bytes. */
  #take(bytes: Buffer): void {
    for (let at = 0; at < bytes.length; ) {
      if (this.#left === 0) {
        const part = bytes.subarray(at, at + headerBytes - this.#header.length);
        this.#header = Buffer.concat([this.#header, part]);
        at += part.length;
        if (this.#header.length < headerBytes) return;
        this.#isError = this.#header[0] === 2;
        this.#left = this.#header.readUInt32BE(4);
        this.#header = Buffer.alloc(0);
        continue;
      }
      const part = bytes.subarray(at, at + this.#left);
      at += part.length;
      this.#left -= part.length;
      if (this.#isError) this.#words = (this.#words + part.toString()).slice(-wordsBytes);
      else if (!this.push(part)) this.#stream.pause();
    }
  }
}
