/** The noun `blobs`: files by their content. */

import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Client } from "@connectrpc/connect";
import type { Caller } from "../caller.ts";
import { Code, DevmeshApiError } from "../errors.ts";
import type { BlobService, PutBlobRequestSchema } from "../gen/devmesh/api/v1/blob_service_pb.js";
import type { CallOptions } from "../options.ts";
import type { LoadSha256 } from "../sha256.ts";

/** Content that can be read again, for example from a file. */
export interface BlobSource {
  /** SHA-256 in hex. */
  readonly sha256: string;
  /** Its size in bytes. */
  readonly sizeBytes: number;
  /** Starts reading it. */
  readonly open: () => AsyncIterable<Uint8Array>;
}

/** A call that stores a blob. */
export interface PutBlobOptions extends CallOptions {
  /** Told how many bytes were sent so far. */
  readonly onProgress?: (sentBytes: number, sizeBytes: number) => void;
}

/** A stored blob. */
export interface StoredBlob {
  readonly sha256: string;
  readonly sizeBytes: number;
  /** True if the server had it already and nothing was sent. */
  readonly present: boolean;
}

const pieceBytes = 256 * 1024;

/** Files by their content: workspaces on the way in, artifacts on the way out. */
export class Blobs {
  readonly #client: Client<typeof BlobService>;
  readonly #caller: Caller;
  readonly #loadSha256: LoadSha256;

  /** Made by `createDevmesh`. */
  constructor(deps: {
    readonly client: Client<typeof BlobService>;
    readonly caller: Caller;
    readonly loadSha256: LoadSha256;
  }) {
    this.#client = deps.client;
    this.#caller = deps.caller;
    this.#loadSha256 = deps.loadSha256;
  }

  /** Whether the server has a blob. */
  async stat(
    sha256: string,
    options?: CallOptions,
  ): Promise<{ exists: boolean; sizeBytes: number }> {
    const answer = await this.#caller.unary((o) => this.#client.statBlob({ sha256 }, o), options);
    return { exists: answer.exists, sizeBytes: Number(answer.sizeBytes) };
  }

  /**
   * Stores content under its SHA-256, unless the server has it. No time limit
   * unless the call names one. Throws TOO_LARGE, INVALID_FIELD.
   */
  async put(content: Uint8Array | BlobSource, options: PutBlobOptions = {}): Promise<StoredBlob> {
    const source = content instanceof Uint8Array ? await this.#sourceOf(content) : content;
    const { sha256 } = source;
    const before = await this.stat(sha256, options);
    if (before.exists) return { sha256, sizeBytes: before.sizeBytes, present: true };
    const answer = await this.#caller.unary(
      (o) => this.#client.putBlob(pieces(source, options), o),
      options,
      0,
    );
    return { sha256: answer.sha256, sizeBytes: Number(answer.sizeBytes), present: false };
  }

  /** A blob's content; throws INTERNAL at the end if it is not what its name says. */
  async *get(sha256: string, options?: CallOptions): AsyncGenerator<Uint8Array, void, undefined> {
    const digest = (await this.#loadSha256())();
    for await (const { data } of this.#caller.stream(
      (o) => this.#client.getBlob({ sha256 }, o),
      options,
    )) {
      digest.update(data);
      yield data;
    }
    const found = digest.hex();
    if (found === sha256) return;
    throw new DevmeshApiError(`the blob ${sha256} arrived with SHA-256 ${found}`, {
      reason: "INTERNAL",
      code: Code.DataLoss,
    });
  }

  async #sourceOf(content: Uint8Array): Promise<BlobSource> {
    const digest = (await this.#loadSha256())();
    digest.update(content);
    const open = async function* () {
      yield content;
    };
    return { sha256: digest.hex(), sizeBytes: content.length, open };
  }
}

/** The upload: the hash in the first piece, also of empty content, and bounded pieces. */
async function* pieces(
  source: BlobSource,
  options: PutBlobOptions,
): AsyncGenerator<MessageInitShape<typeof PutBlobRequestSchema>, void, undefined> {
  let sent = 0;
  yield { sha256: source.sha256 };
  for await (const chunk of source.open()) {
    for (let start = 0; start < chunk.length; start += pieceBytes) {
      options.signal?.throwIfAborted();
      const data = chunk.subarray(start, start + pieceBytes);
      yield { data: new Uint8Array(data) };
      sent += data.length;
      options.onProgress?.(sent, source.sizeBytes);
    }
  }
}
