/**
 * What a job changed in its work dir: the archive that went in against the
 * one that came out. `.git` is not compared: it is the repository's own. Of
 * what no archive may hold (links that point out, pipes, devices) nothing is
 * kept; it is told by name. The patch is left to `git-patch.ts`.
 */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { type GuardedEntry, guardedEntries } from "../../drivers/tar-guard.ts";

/** A file or a link as it was found in one of the archives. */
export interface FileFacts {
  readonly type: "file" | "symlink";
  /** Permission bits. */
  readonly mode: number;
  /** Bytes of content; of a link's target. */
  readonly size: number;
  /** SHA-256 in hex, of the content or the link's target. */
  readonly digest: string;
  /** The target of a symlink. Empty otherwise. */
  readonly target: string;
  /** Another name of the same file that comes before it in the archive. Empty: none. */
  readonly sameAs: string;
}

/** A file that the job added (no `before`), removed (no `after`) or changed. */
export interface FileChange {
  readonly path: string;
  readonly before?: FileFacts;
  readonly after?: FileFacts;
}

/** An archive on disk. */
export interface Archive {
  readonly path: string;
  readonly maxBytes: number;
}

/** What two archives differ in. */
export interface Comparison {
  /** Sorted by path. */
  readonly changes: readonly FileChange[];
  /** Paths of the second archive that are never kept. */
  readonly unsafe: readonly string[];
}

/** Compares two archives. `before` absent: an empty work dir. */
export async function compareArchives(
  before: Archive | undefined,
  after: Archive,
  signal: AbortSignal,
): Promise<Comparison> {
  const unsafe: string[] = [];
  const old = before === undefined ? new Map<string, FileFacts>() : await index(before, signal);
  const fresh = await index(after, signal, (path) => unsafe.push(path));
  const changes: FileChange[] = [];
  for (const [path, facts] of fresh) {
    const known = old.get(path);
    if (known === undefined) changes.push({ path, after: facts });
    else if (!isSame(known, facts)) changes.push({ path, before: known, after: facts });
  }
  for (const [path, facts] of old) {
    if (!fresh.has(path)) changes.push({ path, before: facts });
  }
  changes.sort((a, b) => (a.path < b.path ? -1 : 1));
  return { changes, unsafe };
}

/** The entries of an archive; with `onRefused`, unwelcome ones are passed over and told. */
export function archiveEntries(
  { path, maxBytes }: Archive,
  signal: AbortSignal,
  onRefused?: (path: string) => void,
): AsyncGenerator<GuardedEntry> {
  const limits = { maxBytes, ...(onRefused && { onRefused }) };
  return guardedEntries(createReadStream(path), limits, signal);
}

/** The contents of the wanted files of an archive. */
export async function readContents(
  archive: Archive,
  wanted: ReadonlySet<string>,
  signal: AbortSignal,
): Promise<Map<string, Buffer>> {
  const found = new Map<string, Buffer>();
  if (wanted.size === 0) return found;
  for await (const { entry, content } of archiveEntries(archive, signal, () => {})) {
    const take = wanted.has(entry.path) && entry.type === "file";
    const chunks: Buffer[] = [];
    for await (const chunk of content) if (take) chunks.push(Buffer.from(chunk));
    if (take) found.set(entry.path, Buffer.concat(chunks));
  }
  return found;
}

async function index(
  archive: Archive,
  signal: AbortSignal,
  onRefused?: (path: string) => void,
): Promise<Map<string, FileFacts>> {
  const files = new Map<string, FileFacts>();
  for await (const { entry, content } of archiveEntries(archive, signal, onRefused)) {
    const hash = createHash("sha256");
    for await (const chunk of content) hash.update(chunk);
    const { type, path, target, mode, size } = entry;
    if (type === "directory" || isGit(path)) continue;
    if (type === "link") {
      const named = files.get(target);
      if (named !== undefined) files.set(path, { ...named, sameAs: named.sameAs || target });
    } else if (type === "symlink") {
      const bytes = Buffer.byteLength(target);
      const digest = hash.update(target).digest("hex");
      files.set(path, { type, mode: 0o777, size: bytes, digest, target, sameAs: "" });
    } else {
      const digest = hash.digest("hex");
      files.set(path, { type, mode: mode & 0o777, size, digest, target: "", sameAs: "" });
    }
  }
  return files;
}

function isSame(a: FileFacts, b: FileFacts): boolean {
  return a.type === b.type && a.mode === b.mode && a.digest === b.digest;
}

function isGit(path: string): boolean {
  return path.split("/").includes(".git");
}
