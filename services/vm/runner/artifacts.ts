/**
 * Stores what a job leaves: the patch, the changed files as a tar, the names of
 * the deleted ones, and single small files.
 */
import { createHash, type Hash } from "node:crypto";
import { createReadStream } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import type { Client } from "@connectrpc/connect";
import type { BlobService } from "@devmesh/gen/devmesh/api/v1/blob_service_pb";
import { type Artifact, ArtifactSchema } from "@devmesh/gen/devmesh/api/v1/job_pb";
import type { Clock } from "@devmesh/mesh/runtime";
import { padding, type TarEntry, tarEnd, tarHeader } from "../drivers/tar-format.ts";
import { makeGitPatch } from "./git-patch.ts";
import { untilAnswered } from "./until-answered.ts";
import {
  type Archive,
  archiveEntries,
  compareArchives,
  type FileChange,
} from "./workspace-changes.ts";

/** The largest piece of a blob upload. */
const pieceBytes = 256 * 1024;

/** Files listed one by one, besides the tar with all of them. */
const maxSingles = { files: 50, bytes: 4 * 1024 * 1024, nameBytes: 4096 };

/** The changed files together; more are left out of the tar and only named. */
const maxTarBytes = 256 * 1024 * 1024;

/**
 * Names of artifacts that are not files of the job. `deleted` holds the paths
 * that the job removed, each ended by a NUL: the tar cannot tell them, and the
 * patch leaves large files out.
 */
const names = { patch: "changes.patch", tar: "changes.tar", deleted: "changes.deleted" };

/** What was found and stored. */
export interface StoredChanges {
  readonly changes: readonly FileChange[];
  readonly artifacts: readonly Artifact[];
  readonly patch: string;
  /** Paths that were not kept: too large together, or nothing that an archive may hold. */
  readonly leftOut: readonly string[];
}

/** Nothing was left. */
export const nothingStored: StoredChanges = { changes: [], artifacts: [], patch: "", leftOut: [] };

/** Where the two archives are and where blobs go. */
export interface StoreChangesInput {
  readonly blobs: Client<typeof BlobService>;
  readonly clock: Clock;
  readonly before: Archive | undefined;
  readonly after: Archive;
  /** Where the tar of the changes is made. */
  readonly folder: string;
  /** Aborts when nobody wants the artifacts any more. */
  readonly signal: AbortSignal;
}

/** Compares, uploads, and answers what the job leaves. */
export async function storeChanges(input: StoreChangesInput): Promise<StoredChanges> {
  const { before, after, folder, signal } = input;
  const { changes, unsafe } = await compareArchives(before, after, signal);
  if (changes.length === 0) return { ...nothingStored, leftOut: unsafe };
  const artifacts: Artifact[] = [];
  const keep = async (name: string, mediaType: string, content: Content) => {
    artifacts.push(await upload(input, name, mediaType, content));
  };
  const patch = await makeGitPatch(changes, before, after, signal);
  if (patch !== "") await keep(names.patch, "text/x-diff", contentOf(Buffer.from(patch)));

  // What stands in a path's place but cannot be kept has not deleted it.
  const refused = new Set(unsafe);
  const deleted = changes.filter(({ path, after: now }) => now === undefined && !refused.has(path));
  if (deleted.length > 0) {
    const list = deleted.map(({ path }) => `${path}\0`).join("");
    await keep(names.deleted, "application/octet-stream", contentOf(Buffer.from(list)));
  }
  const wanted = new Set(changes.filter((c) => c.after !== undefined).map((c) => c.path));
  const leftOut = [...unsafe];
  await using tar = await TarFile.create(join(folder, names.tar));
  for await (const { entry, content } of archiveEntries(after, signal, () => {})) {
    const isWanted = wanted.has(entry.path);
    const fits = isWanted && tar.takes(entry);
    if (isWanted && !fits) leftOut.push(entry.path);
    const single = fits && isSingle(entry) && artifacts.length < maxSingles.files;
    const chunks: Buffer[] = [];
    if (fits) await tar.begin(entry);
    for await (const chunk of content) {
      if (fits) await tar.write(chunk);
      if (single) chunks.push(Buffer.from(chunk));
    }
    if (fits) await tar.write(padding(entry.size));
    const media = "application/octet-stream";
    if (single) await keep(entry.path, media, contentOf(Buffer.concat(chunks)));
  }
  if (!tar.isEmpty) await keep(names.tar, "application/x-tar", await tar.end());
  return { changes, artifacts, patch, leftOut };
}

function isSingle({ type, path, size }: TarEntry): boolean {
  return (
    type === "file" &&
    size <= maxSingles.bytes &&
    Buffer.byteLength(path) <= maxSingles.nameBytes &&
    !Object.values(names).includes(path)
  );
}

/** Something to upload; its pieces can be read again for another try. */
interface Content {
  readonly sha256: string;
  readonly sizeBytes: number;
  pieces(): AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
}

function contentOf(bytes: Buffer): Content {
  return {
    sha256: createHash("sha256").update(bytes).digest("hex"),
    sizeBytes: bytes.length,
    *pieces() {
      for (let at = 0; at < bytes.length; at += pieceBytes)
        yield bytes.subarray(at, at + pieceBytes);
    },
  };
}

/** A blob is named by its content: an upload that was cut off is safe to repeat. */
async function upload(
  { blobs, clock, signal }: StoreChangesInput,
  name: string,
  mediaType: string,
  content: Content,
): Promise<Artifact> {
  const { sha256, sizeBytes } = content;
  await untilAnswered(
    async () => {
      const { exists } = await blobs.statBlob({ sha256 }, { signal, timeoutMs: 10_000 });
      if (!exists) await blobs.putBlob(requestsOf(content), { signal });
    },
    { clock, signal },
  );
  return create(ArtifactSchema, { name, sha256, sizeBytes: BigInt(sizeBytes), mediaType });
}

async function* requestsOf({ sha256, pieces }: Content) {
  yield { sha256, data: new Uint8Array() };
  for await (const data of pieces()) yield { data };
}

/** A tar on disk that is hashed as it is written: it may not fit into memory. */
class TarFile {
  readonly #path: string;
  readonly #file: FileHandle;
  readonly #hash: Hash = createHash("sha256");
  readonly #paths = new Set<string>();
  #bytes = 0;

  private constructor(path: string, file: FileHandle) {
    this.#path = path;
    this.#file = file;
  }

  static async create(path: string): Promise<TarFile> {
    return new TarFile(path, await open(path, "w", 0o600));
  }

  get isEmpty(): boolean {
    return this.#bytes === 0;
  }

  /** False for what is too much, and for a further name of a file that is not in it. */
  takes({ type, target, size }: TarEntry): boolean {
    if (type === "link" && !this.#paths.has(target)) return false;
    return this.#bytes + size <= maxTarBytes;
  }

  async begin(entry: TarEntry): Promise<void> {
    this.#paths.add(entry.path);
    await this.write(tarHeader(entry));
  }

  async write(bytes: Uint8Array): Promise<void> {
    this.#hash.update(bytes);
    this.#bytes += bytes.length;
    for (let at = 0; at < bytes.length; ) at += (await this.#file.write(bytes, at)).bytesWritten;
  }

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
