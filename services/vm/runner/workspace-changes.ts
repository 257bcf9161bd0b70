/**
 * What a job changed in its work dir: the archive that went in against the
 * one that came out. `.git` is not compared: it is the repository's own.
 */

import { isUtf8 } from "node:buffer";
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { formatPatch, structuredPatch } from "diff";
import { guardedEntries } from "../drivers/tar-guard.ts";

/** Files larger than this have no text diff. */
const maxDiffBytes = 1024 * 1024;

/** A file that the job added, changed or removed. */
export interface FileChange {
  readonly path: string;
  readonly kind: "added" | "changed" | "removed";
  /** Permission bits after the job; of the old file where it was removed. */
  readonly mode: number;
  readonly sizeBytes: number;
  /** SHA-256 of the new content, in hex; empty where it was removed or is a link. */
  readonly sha256: string;
}

interface IndexedFile {
  readonly mode: number;
  readonly size: number;
  /** Of the content, or of a link's target. */
  readonly digest: string;
  readonly isLink: boolean;
}

type Archive = { readonly path: string; readonly maxBytes: number };

/** The changes between two archives on disk, sorted by path. `before` absent: an empty work dir. */
export async function compareArchives(
  before: Archive | undefined,
  after: Archive,
  signal?: AbortSignal,
): Promise<FileChange[]> {
  const old = before === undefined ? new Map<string, IndexedFile>() : await index(before, signal);
  const fresh = await index(after, signal);
  const changes: FileChange[] = [];
  for (const [path, file] of fresh) {
    const known = old.get(path);
    if (known?.digest === file.digest && known.mode === file.mode) continue;
    changes.push({
      path,
      kind: known === undefined ? "added" : "changed",
      mode: file.mode,
      sizeBytes: file.size,
      sha256: file.isLink ? "" : file.digest,
    });
  }
  for (const [path, { mode }] of old) {
    if (!fresh.has(path)) changes.push({ path, kind: "removed", mode, sizeBytes: 0, sha256: "" });
  }
  return changes.sort((a, b) => (a.path < b.path ? -1 : 1));
}

/** The changes as a unified diff that `git apply` takes; binary and large files are named only. */
export async function makePatch(
  changes: readonly FileChange[],
  before: Archive | undefined,
  after: Archive,
  signal?: AbortSignal,
): Promise<string> {
  const wanted = new Set(changes.map(({ path }) => path));
  const olds = before === undefined ? new Map() : await contents(before, wanted, signal);
  const news = await contents(after, wanted, signal);
  return changes
    .map((change) => patchOf(change, olds.get(change.path), news.get(change.path)))
    .join("");
}

async function index(archive: Archive, signal?: AbortSignal): Promise<Map<string, IndexedFile>> {
  const files = new Map<string, IndexedFile>();
  for await (const { entry, content } of entries(archive, signal)) {
    const hash = createHash("sha256");
    for await (const chunk of content) hash.update(chunk);
    if (entry.type === "directory" || isGit(entry.path)) continue;
    const isLink = entry.type !== "file";
    if (isLink) hash.update(`${entry.type}:${entry.target}`);
    const { mode, size } = entry;
    files.set(entry.path, { mode: mode & 0o777, size, digest: hash.digest("hex"), isLink });
  }
  return files;
}

async function contents(
  archive: Archive,
  wanted: ReadonlySet<string>,
  signal?: AbortSignal,
): Promise<Map<string, Buffer>> {
  const found = new Map<string, Buffer>();
  for await (const { entry, content } of entries(archive, signal)) {
    const take = wanted.has(entry.path) && entry.type === "file" && entry.size <= maxDiffBytes;
    const chunks: Buffer[] = [];
    for await (const chunk of content) if (take) chunks.push(Buffer.from(chunk));
    if (take) found.set(entry.path, Buffer.concat(chunks));
  }
  return found;
}

function entries({ path, maxBytes }: Archive, signal?: AbortSignal) {
  return guardedEntries(createReadStream(path), { maxBytes }, signal);
}

function isGit(path: string): boolean {
  return path === ".git" || path.startsWith(".git/") || path.includes("/.git/");
}

function patchOf(change: FileChange, old: Buffer | undefined, fresh: Buffer | undefined): string {
  const { path, kind } = change;
  const head = [`diff --git a/${path} b/${path}`];
  const mode = `100${(change.mode & 0o100) === 0 ? "644" : "755"}`;
  if (kind === "added") head.push(`new file mode ${mode}`);
  if (kind === "removed") head.push(`deleted file mode ${mode}`);
  const readable = (kind === "added" || isText(old)) && (kind === "removed" || isText(fresh));
  if (!readable) return `${head.join("\n")}\nBinary files a/${path} and b/${path} differ\n`;
  const from = kind === "added" ? "/dev/null" : `a/${path}`;
  const to = kind === "removed" ? "/dev/null" : `b/${path}`;
  const before = old?.toString("utf8") ?? "";
  const after = fresh?.toString("utf8") ?? "";
  if (before === after) return kind === "changed" ? "" : `${head.join("\n")}\n`;
  const patch = structuredPatch(from, to, before, after, "", "", { context: 3 });
  const body = formatPatch(patch);
  return `${head.join("\n")}\n${body.slice(body.indexOf("--- "))}`;
}

function isText(content: Buffer | undefined): boolean {
  return content !== undefined && isUtf8(content) && !content.includes(0);
}
