/**
 * The check that every workspace archive passes on its way into a sandbox: it
 * comes out as a plain tar in which no entry can leave the root. Unpacking it
 * is left to the drivers.
 */
import { Readable } from "node:stream";
import { createGunzip } from "node:zlib";
import { DevmeshError } from "@devmesh/mesh/errors";
import { ByteReader } from "./byte-reader.ts";
import {
  blockBytes,
  padding,
  readTarEntry,
  type TarEntry,
  tarEnd,
  tarHeader,
  workspaceInvalid,
} from "./tar-format.ts";

const pieceBytes = 32 * 1024;

/** Bounds of one archive. */
export interface TarLimits {
  /** Content and headers together, unpacked, in bytes. */
  readonly maxBytes: number;
  /**
   * Called with the path of an entry that is refused; it is left out, and the
   * rest goes on. Absent: the archive is refused with it.
   */
  readonly onRefused?: (path: string) => void;
}

/** An entry that has passed, with its content. */
export interface GuardedEntry {
  readonly entry: TarEntry;
  /** Must be read to its end before the next entry is asked for. */
  readonly content: AsyncIterable<Buffer>;
}

/**
 * A checked copy of `source` (tar, plain or gzip) as a plain tar: relative
 * paths, permission bits only, no owners. It ends with WORKSPACE_INVALID at the
 * first entry that is absolute, has `..`, lies below a link of the archive, is
 * a link that points out, a device or a pipe; for a broken archive; and above
 * `maxBytes`. What came before that entry has been passed on.
 */
export function guardTar(source: Readable, limits: TarLimits, signal?: AbortSignal): Readable {
  return Readable.from(inPieces(repack(source, limits, signal)), { objectMode: false });
}

/** The entries of `source` as `guardTar` lets them through, for unpacking in this process. */
export async function* guardedEntries(
  source: Readable,
  limits: TarLimits,
  signal?: AbortSignal,
): AsyncGenerator<GuardedEntry> {
  const rules = new Rules(limits);
  try {
    const reader = new ByteReader(plain(source, limits, signal));
    for (;;) {
      const raw = await readKnownEntry(reader, limits);
      if (raw === undefined) break;
      const entry = admitted(raw, rules, limits);
      if (entry === undefined) {
        for await (const _ of reader.take(raw.size + padding(raw.size).length));
        continue;
      }
      // The root itself: its mode and owner are the sandbox's business.
      if (entry.path === "") continue;
      yield { entry, content: content(reader, entry) };
      await reader.exact(padding(entry.size).length);
    }
    await reader.drain();
  } finally {
    source.destroy();
  }
}

/** Devices and pipes have no content: where they may be left out, the next header follows. */
async function readKnownEntry(
  reader: ByteReader,
  limits: TarLimits,
): Promise<TarEntry | undefined> {
  for (;;) {
    try {
      return await readTarEntry(reader);
    } catch (error) {
      leaveOut(error, limits);
    }
  }
}

function admitted(raw: TarEntry, rules: Rules, limits: TarLimits): TarEntry | undefined {
  try {
    return rules.admit(raw);
  } catch (error) {
    leaveOut(error, limits);
    return undefined;
  }
}

/** Tells of a refused entry; throws what is wrong with the archive itself. */
function leaveOut(error: unknown, { onRefused }: TarLimits): void {
  const path = error instanceof DevmeshError ? (error.metadata.path ?? "") : "";
  if (onRefused === undefined || path === "") throw error;
  // As the paths of entries that pass are told.
  onRefused(plainParts(path).join("/"));
}

async function* repack(
  source: Readable,
  limits: TarLimits,
  signal?: AbortSignal,
): AsyncGenerator<Buffer> {
  for await (const { entry, content } of guardedEntries(source, limits, signal)) {
    yield tarHeader(entry);
    yield* content;
    yield padding(entry.size);
  }
  yield tarEnd();
}

/** The same bytes in fewer pieces: an archive of many small files is mostly headers. */
async function* inPieces(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let kept: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of chunks) {
    kept.push(chunk);
    bytes += chunk.length;
    if (bytes < pieceBytes) continue;
    yield Buffer.concat(kept);
    kept = [];
    bytes = 0;
  }
  if (bytes > 0) yield Buffer.concat(kept);
}

async function* content(reader: ByteReader, entry: TarEntry): AsyncGenerator<Buffer> {
  let missing = entry.size;
  for await (const part of reader.take(entry.size)) {
    missing -= part.length;
    yield part;
  }
  if (missing > 0) throw workspaceInvalid(`${entry.path}: the archive is cut off`, entry.path);
}

/** The bytes of the tar itself, unzipped where it is gzip, and bounded: zeros zip well. */
async function* plain(
  source: Readable,
  limits: TarLimits,
  signal?: AbortSignal,
): AsyncGenerator<Buffer> {
  const first = new ByteReader(source);
  const opened: Readable[] = [];
  let left = 4 * limits.maxBytes + 1024 * 1024;
  try {
    const head = await first.exact(2);
    const all = Readable.from(rejoin(head, first), { objectMode: false });
    opened.push(all);
    const zipped = head[0] === 0x1f && head[1] === 0x8b;
    if (zipped) opened.push(all.pipe(createGunzip()));
    const tar = opened.at(-1) ?? all;
    if (zipped) all.on("error", (error) => tar.destroy(error));
    for await (const chunk of tar as AsyncIterable<Buffer>) {
      left -= chunk.length;
      if (left < 0) throw tooLarge(limits);
      signal?.throwIfAborted();
      yield chunk;
    }
  } catch (error: unknown) {
    throw toRefusal(error, signal);
  } finally {
    for (const stream of opened) stream.destroy();
  }
}

async function* rejoin(head: Buffer, rest: ByteReader): AsyncGenerator<Buffer> {
  yield head;
  yield* rest.take(Number.POSITIVE_INFINITY);
}

/** What holds for the entries of one archive, in their order. */
class Rules {
  readonly #limits: TarLimits;
  readonly #links = new Set<string>();
  readonly #files = new Set<string>();
  #bytes = 0;

  constructor(limits: TarLimits) {
    this.#limits = limits;
  }

  admit(raw: TarEntry): TarEntry {
    const path = this.#inside(raw.path);
    this.#bytes += blockBytes + raw.size;
    if (this.#bytes > this.#limits.maxBytes) throw tooLarge(this.#limits);
    this.#links.delete(path);
    switch (raw.type) {
      case "symlink":
        checkTarget(path, raw.target);
        if (path === "") throw workspaceInvalid("the root of the archive is a link");
        this.#links.add(path);
        return { ...raw, path };
      case "link": {
        const target = this.#inside(raw.target);
        if (!this.#files.has(target)) {
          throw workspaceInvalid(
            `${path}: it links to ${target}, which is no file of the archive`,
            path,
          );
        }
        return { ...raw, path, target };
      }
      case "file":
        if (path === "") throw workspaceInvalid("an entry of the archive has no name");
        this.#files.add(path);
        return { ...raw, path };
      case "directory":
        return { ...raw, path };
      default:
        return raw.type satisfies never;
    }
  }

  /** The path without `.` and doubled slashes; throws if it can lead out of the root. */
  #inside(path: string): string {
    if (path.startsWith("/")) throw workspaceInvalid(`${path}: absolute paths are not taken`, path);
    if (path.includes("\0")) throw workspaceInvalid("a name in the archive has a NUL in it");
    const parts = plainParts(path);
    if (parts.includes(".."))
      throw workspaceInvalid(`${path}: paths with ".." are not taken`, path);
    for (let depth = 1; depth < parts.length; depth++) {
      const parent = parts.slice(0, depth).join("/");
      if (this.#links.has(parent)) {
        throw workspaceInvalid(`${path}: it lies below ${parent}, which is a link`, path);
      }
    }
    return parts.join("/");
  }
}

/** The parts of a path that say something. */
function plainParts(path: string): string[] {
  return path.split("/").filter((part) => part !== "" && part !== ".");
}

/**
 * `..` is taken only at the start of a target and only as deep as the link
 * lies: then no chain of such links leads out either.
 */
function checkTarget(path: string, target: string): void {
  if (target === "" || target.startsWith("/")) {
    throw workspaceInvalid(
      `${path}: it links to ${JSON.stringify(target)}, outside of the archive`,
      path,
    );
  }
  const parts = plainParts(target);
  const ups = parts.findIndex((part) => part !== "..");
  const leading = ups < 0 ? parts.length : ups;
  const depth = path.split("/").length - 1;
  if (leading > depth || parts.slice(leading).includes("..")) {
    throw workspaceInvalid(
      `${path}: it links to ${JSON.stringify(target)}, outside of the archive`,
      path,
    );
  }
}

function tooLarge(limits: TarLimits): DevmeshError {
  const mib = Math.floor(limits.maxBytes / (1024 * 1024));
  return workspaceInvalid(`the archive is larger than the sandbox's disk (${mib} MiB)`);
}

function toRefusal(error: unknown, signal?: AbortSignal): DevmeshError {
  if (error instanceof DevmeshError) return error;
  if (signal?.aborted)
    return new DevmeshError("CANCELLED", "the upload was cancelled", { cause: error });
  return workspaceInvalid("the archive cannot be read", "", error);
}
