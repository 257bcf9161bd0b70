/** A tar on the host's disk that is made piece by piece, and handed on as a blob. */
import { createHash, type Hash } from "node:crypto";
import { createReadStream } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { type TarEntry, tarEnd, tarHeader } from "../../drivers/tar-format.ts";
import { type Content, pieceBytes } from "./blob-content.ts";

/** The files together; more are not taken. */
const maxTarBytes = 256 * 1024 * 1024;

/** A tar on disk that is hashed as it is written: it may not fit into memory. */
export class TarFile {
  readonly #path: string;
  readonly #file: FileHandle;
  readonly #hash: Hash = createHash("sha256");
  readonly #paths = new Set<string>();
  #bytes = 0;

  private constructor(path: string, file: FileHandle) {
    this.#path = path;
    this.#file = file;
  }

  /** Makes the file. */
  static async create(path: string): Promise<TarFile> {
    return new TarFile(path, await open(path, "w", 0o600));
  }

  /** True while nothing was written. */
  get isEmpty(): boolean {
    return this.#bytes === 0;
  }

  /** False for what is too much, and for a further name of a file that is not in it. */
  takes({ type, target, size }: TarEntry): boolean {
    if (type === "link" && !this.#paths.has(target)) return false;
    return this.#bytes + size <= maxTarBytes;
  }

  /** Writes the header of an entry; its content and padding follow. */
  async begin(entry: TarEntry): Promise<void> {
    this.#paths.add(entry.path);
    await this.write(tarHeader(entry));
  }

  /** Writes bytes of a content. */
  async write(bytes: Uint8Array): Promise<void> {
    this.#hash.update(bytes);
    this.#bytes += bytes.length;
    for (let at = 0; at < bytes.length; ) at += (await this.#file.write(bytes, at)).bytesWritten;
  }

  /** Ends the tar; the file must stay while the content is read. */
  async end(): Promise<Content> {
    await this.write(tarEnd());
    const path = this.#path;
    return {
      sha256: this.#hash.digest("hex"),
      sizeBytes: this.#bytes,
      pieces: () => createReadStream(path, { highWaterMark: pieceBytes }),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file.close();
  }
}
