/** A workspace as an earlier attempt left it: what went in, with the kept changes over it. */
import { createWriteStream } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { padding, tarEnd, tarHeader } from "../../drivers/tar-format.ts";
import type { ChangedFile } from "../agent/checkpoints.ts";
import type { KeptFiles } from "../agent/past.ts";
import { type BlobAccess, fetchBlob } from "./blob-content.ts";
import { type Archive, archiveEntries, readContents } from "./workspace-changes.ts";

/** Names of deleted files are few: a list beyond this is none of ours. */
const maxListBytes = 64 * 1024 * 1024;

/** Kept changes on this host's disk. */
export interface KeptChanges {
  /** Undefined: no file was changed. */
  readonly changed: Archive | undefined;
  readonly deleted: readonly string[];
}

/** Fetches what an earlier attempt has kept. Throws NOT_FOUND if it is gone. */
export async function fetchChanges(
  { sha256, deletedSha256 }: KeptFiles,
  folder: string,
  access: BlobAccess,
): Promise<KeptChanges> {
  const changed = { path: join(folder, "kept.tar"), maxBytes: 1024 * 1024 * 1024 };
  const list = join(folder, "kept.deleted");
  if (sha256 !== "") await fetchBlob(access, sha256, changed.path);
  if (deletedSha256 !== "") await fetchBlob(access, deletedSha256, list);
  const names =
    deletedSha256 === "" ? "" : (await readFile(list)).toString("utf8", 0, maxListBytes);
  return {
    changed: sha256 === "" ? undefined : changed,
    deleted: names.split("\0").filter((name) => name !== ""),
  };
}

/** Writes one archive: `before` without what was changed or deleted, then the changes. */
export async function mergeArchives(
  before: Archive | undefined,
  { changed, deleted }: KeptChanges,
  path: string,
  signal: AbortSignal,
): Promise<void> {
  const gone = new Set(deleted);
  for await (const { entry, content } of entriesOf(changed, signal)) {
    gone.add(entry.path);
    for await (const _ of content);
  }
  const pieces = merged(before, changed, gone, signal);
  await pipeline(Readable.from(pieces), createWriteStream(path, { mode: 0o600 }), { signal });
}

/** The changed files one by one, for who keeps them further. */
export async function* changedFiles(
  changed: Archive | undefined,
  signal: AbortSignal,
): AsyncGenerator<ChangedFile> {
  for await (const { entry, content } of entriesOf(changed, signal)) {
    const { path, mode, target, type } = entry;
    const data: Buffer[] = [];
    for await (const chunk of content) data.push(Buffer.from(chunk));
    if (type !== "file" && type !== "symlink") continue;
    const link = type === "symlink" ? target : "";
    yield { path, mode, target: link, data: Buffer.concat(data), more: false };
  }
}

async function* merged(
  before: Archive | undefined,
  changed: Archive | undefined,
  gone: ReadonlySet<string>,
  signal: AbortSignal,
): AsyncGenerator<Buffer> {
  const orphans = await contentsOfLost(before, gone, signal);
  for await (const { entry, content } of entriesOf(before, signal)) {
    // A file where a folder was takes the folder's place, and all below it.
    if (gone.has(entry.path) || isBelow(entry.path, gone)) {
      for await (const _ of content);
      continue;
    }
    const alone = entry.type === "link" ? orphans.get(entry.target) : undefined;
    if (alone !== undefined) {
      // Another name of a file that is no more as it was: it keeps the content.
      yield tarHeader({ ...entry, type: "file", target: "", size: alone.length });
      yield alone;
      yield padding(alone.length);
      continue;
    }
    yield tarHeader(entry);
    yield* content;
    yield padding(entry.size);
  }
  for await (const { entry, content } of entriesOf(changed, signal)) {
    yield tarHeader(entry);
    yield* content;
    yield padding(entry.size);
  }
  yield tarEnd();
}

/** What further names of changed files must keep. */
async function contentsOfLost(
  before: Archive | undefined,
  gone: ReadonlySet<string>,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, Buffer>> {
  const targets = new Set<string>();
  for await (const { entry, content } of entriesOf(before, signal)) {
    if (entry.type === "link" && gone.has(entry.target)) targets.add(entry.target);
    for await (const _ of content);
  }
  return before === undefined ? new Map() : readContents(before, targets, signal);
}

function isBelow(path: string, gone: ReadonlySet<string>): boolean {
  const parts = path.split("/");
  return parts.some((_, index) => index > 0 && gone.has(parts.slice(0, index).join("/")));
}

async function* entriesOf(archive: Archive | undefined, signal: AbortSignal) {
  if (archive !== undefined) yield* archiveEntries(archive, signal, () => {});
}
