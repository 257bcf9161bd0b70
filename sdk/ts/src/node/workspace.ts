/** Owns packing a folder into a workspace archive, always the same bytes for the same files. */
import { createHash } from "node:crypto";
import { createReadStream, createWriteStream, type Stats } from "node:fs";
import { lstat, mkdtemp, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";
import { pack as createPack, type Header, type Pack } from "tar-stream";
import type { Devmesh } from "../client.ts";
import type { BlobSource, PutBlobOptions, StoredBlob } from "../nouns/blobs.ts";
import {
  openFolder,
  readInnerLink,
  type TreeEntry,
  type TreeSkip,
  WorkspaceError,
  walkTree,
} from "./tree.ts";

/** How to pack. */
export interface PackOptions {
  /** False: take what `.gitignore` names too. Default: true. */
  readonly gitignore?: boolean;
  /** Largest size of all files together, in bytes. Default: 1 GiB. */
  readonly maxBytes?: number;
  readonly signal?: AbortSignal;
}

/** A folder as an archive in a temporary file. */
export interface PackedWorkspace extends BlobSource {
  /** How many files and links it holds. */
  readonly fileCount: number;
  /** What was left out, and why. */
  readonly skipped: readonly TreeSkip[];
  /** Removes the temporary file. */
  dispose(): Promise<void>;
}

type EntryHeader = Pick<Header, "name" | "type" | "mode"> & Partial<Header>;

/** Entries carry no owner and no time, so that equal folders are equal archives. */
const epoch = new Date(0);

/**
 * Packs a folder as tar.gz, sorted, without times and owners, honouring
 * `.gitignore`. Throws `WorkspaceError` for a link that leaves the folder.
 */
export async function packWorkspace(
  folder: string,
  options: PackOptions = {},
): Promise<PackedWorkspace> {
  const root = await openFolder(folder);
  const scratch = await mkdtemp(join(tmpdir(), "devmesh-workspace-"));
  const file = join(scratch, "workspace.tar.gz");
  try {
    const packer = new Packer(root, options);
    const hash = createHash("sha256");
    const tar = createPack();
    const filling = packer.fill(tar).catch((error: unknown) => {
      tar.destroy(error instanceof Error ? error : new Error(String(error)));
      throw error;
    });
    const archive = pipeline(
      tar,
      createGzip(),
      portableGzipHeader(),
      async function* (chunks: AsyncIterable<Uint8Array>) {
        for await (const chunk of chunks) {
          hash.update(chunk);
          yield chunk;
        }
      },
      createWriteStream(file, { mode: 0o600 }),
    );
    const [filled] = await Promise.allSettled([filling, archive]);
    if (filled.status === "rejected") throw filled.reason;
    await archive;
    return {
      sha256: hash.digest("hex"),
      sizeBytes: (await stat(file)).size,
      fileCount: packer.fileCount,
      skipped: packer.skipped,
      open: () => createReadStream(file, { highWaterMark: 256 * 1024 }),
      dispose: () => rm(scratch, { recursive: true, force: true }),
    };
  } catch (error) {
    await rm(scratch, { recursive: true, force: true });
    throw error;
  }
}

/** Stores a packed workspace, unless the server has it. */
export function uploadWorkspace(
  devmesh: Pick<Devmesh, "blobs">,
  workspace: PackedWorkspace,
  options?: PutBlobOptions,
): Promise<StoredBlob> {
  return devmesh.blobs.put(workspace, options);
}

class Packer {
  readonly skipped: TreeSkip[] = [];
  fileCount = 0;
  readonly #root: string;
  readonly #options: PackOptions;
  readonly #maxBytes: number;
  #bytes = 0;

  constructor(root: string, options: PackOptions) {
    this.#root = root;
    this.#options = options;
    this.#maxBytes = options.maxBytes ?? 1024 ** 3;
  }

  async fill(tar: Pack): Promise<void> {
    const { gitignore, signal } = this.#options;
    const walk = walkTree(this.#root, {
      ...(gitignore !== undefined && { gitignore }),
      ...(signal && { signal }),
      onSkip: (skip) => this.skipped.push(skip),
    });
    for await (const { path, file, kind, read } of readAhead(walk)) {
      switch (kind) {
        case "folder":
          await addEntry(tar, { name: `${path}/`, type: "directory", mode: 0o755 });
          break;
        case "link":
          await addEntry(tar, {
            name: path,
            type: "symlink",
            mode: 0o777,
            linkname: await this.#linkTarget(path, file),
          });
          this.fileCount++;
          break;
        case "file":
          await this.#addFile(tar, path, file, await (read ?? readSmall(file)));
          break;
        case "other":
          throw new WorkspaceError(path, `${path} is a socket, a pipe or a device; remove it`);
        default:
          kind satisfies never;
      }
    }
    tar.finalize();
  }

  async #linkTarget(path: string, file: string): Promise<string> {
    const target = await readInnerLink(this.#root, file);
    if (target !== undefined) return target;
    throw new WorkspaceError(
      path,
      `${path} is a link that leads out of the folder; remove it or name it in .gitignore`,
    );
  }

  async #addFile(tar: Pack, path: string, file: string, read: ReadFile): Promise<void> {
    const { info, content } = read;
    this.#bytes += info.size;
    if (this.#bytes > this.#maxBytes) {
      throw new WorkspaceError(
        path,
        `the folder holds more than ${this.#maxBytes} bytes; name what the job does not need in .gitignore`,
      );
    }
    // Only the executable bit travels: the umask of the machine must not change the archive.
    const mode = (info.mode & 0o100) === 0 ? 0o644 : 0o755;
    const header: EntryHeader = { name: path, type: "file", mode };
    if (content !== undefined) {
      await addEntry(tar, { ...header, size: content.length }, content);
    } else {
      await streamEntry(tar, { ...header, size: info.size }, path, file);
    }
    this.fileCount++;
  }
}

/** A file's facts, and its content where it is small. */
interface ReadFile {
  readonly info: Stats;
  readonly content?: Buffer;
}

type ReadEntry = TreeEntry & { readonly read?: Promise<ReadFile> };

/** Files that are read before it is their turn; a folder of many small ones is mostly waiting. */
const filesAhead = 32;
/** A larger file is read when it is its turn, in pieces. */
const smallBytes = 64 * 1024;

/** The same entries in the same order, each file's reading begun before it is its turn. */
async function* readAhead(walk: AsyncIterable<TreeEntry>): AsyncGenerator<ReadEntry> {
  const waiting: ReadEntry[] = [];
  for await (const entry of walk) {
    const read = entry.kind === "file" ? readSmall(entry.file) : undefined;
    // Met when it is its turn, if it comes to that.
    read?.catch(() => {});
    waiting.push({ ...entry, ...(read && { read }) });
    const next = waiting.length > filesAhead ? waiting.shift() : undefined;
    if (next !== undefined) yield next;
  }
  yield* waiting;
}

async function readSmall(file: string): Promise<ReadFile> {
  const info = await lstat(file);
  return info.size <= smallBytes ? { info, content: await readFile(file) } : { info };
}

function addEntry(tar: Pack, header: EntryHeader, content?: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    const done = (error?: Error | null) => (error ? reject(error) : resolve());
    const full = { ...header, mtime: epoch };
    if (content === undefined) tar.entry(full, done);
    else tar.entry(full, content, done);
  });
}

/** A large file goes through in pieces; one that changes meanwhile is told by its name. */
async function streamEntry(
  tar: Pack,
  header: EntryHeader,
  path: string,
  file: string,
): Promise<void> {
  const entry = tar.entry({ ...header, mtime: epoch });
  try {
    await pipeline(createReadStream(file), entry);
  } catch (error) {
    throw new WorkspaceError(path, `${path} could not be read whole; did it change meanwhile?`, {
      cause: error,
    });
  }
}

/** Byte 9 of a gzip header names the packing system; 255 is "unknown" and the same everywhere. */
function portableGzipHeader(): Transform {
  let seen = 0;
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      const at = 9 - seen;
      if (at >= 0 && at < chunk.length) chunk[at] = 255;
      seen += chunk.length;
      done(null, chunk);
    },
  });
}
