/** Owns what comes back: downloading artifacts, unpacking archives; never outside the folder. */
import { randomUUID } from "node:crypto";
import { createWriteStream } from "node:fs";
import { chmod, lstat, mkdir, rename, rm, rmdir, symlink } from "node:fs/promises";
import { dirname, isAbsolute, join, resolve } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGunzip } from "node:zlib";
import { extract, type Header } from "tar-stream";
import type { Devmesh } from "../client.ts";
import type { Artifact } from "../gen/devmesh/api/v1/job_result_pb.js";
import { archiveFacts, peek } from "./archive-facts.ts";
import { findConflicts, WorkspaceConflictError } from "./conflicts.ts";
import { hasRealParents, isInside, openFolder, WorkspaceError } from "./tree.ts";

/** An artifact on disk. */
export interface DownloadedArtifact {
  readonly name: string;
  /** Where it is now, absolute. */
  readonly file: string;
  readonly sizeBytes: number;
}

/** What unpacking an archive did. */
export interface ApplyReport {
  /** Paths that were written, relative to the folder. */
  readonly written: readonly string[];
}

/** What applying a job's changes did. */
export interface ChangesReport extends ApplyReport {
  /** Paths that were deleted, relative to the folder; without those that were gone already. */
  readonly deleted: readonly string[];
}

/** How to apply changes. */
export interface ApplyOptions {
  /**
   * SHA-256 of the archive that the job began with (empty: of an empty folder).
   * With it, nothing is written if a file is neither as it was then nor already
   * as the job left it. Default: nothing is compared.
   */
  readonly base?: string;
  readonly signal?: AbortSignal;
}

/** The artifacts in which a job's runner tells what changed in the work dir. */
const changeNames = { written: "changes.tar", deleted: "changes.deleted" };

/** Saves artifacts below a folder, which is made if need be. Each is checked by its SHA-256. */
export async function downloadArtifacts(
  devmesh: Pick<Devmesh, "blobs">,
  artifacts: readonly Artifact[],
  folder: string,
  options: { readonly signal?: AbortSignal } = {},
): Promise<DownloadedArtifact[]> {
  await mkdir(folder, { recursive: true });
  const root = await openFolder(folder);
  const saved: DownloadedArtifact[] = [];
  for (const { name, sha256, sizeBytes } of artifacts) {
    const file = await innerPath(root, name);
    await mkdir(dirname(file), { recursive: true });
    await writeWhole(file, devmesh.blobs.get(sha256, options), 0o644);
    saved.push({ name, file, sizeBytes: Number(sizeBytes) });
  }
  return saved;
}

/**
 * Unpacks a tar or tar.gz artifact into a folder that exists; existing files
 * are replaced. Throws `WorkspaceError` for an entry that would leave it.
 */
export async function unpackArtifact(
  devmesh: Pick<Devmesh, "blobs">,
  artifact: Pick<Artifact, "sha256">,
  folder: string,
  options: { readonly signal?: AbortSignal } = {},
): Promise<ApplyReport> {
  const root = await openFolder(folder);
  const written: string[] = [];
  const entries = extract();
  const { content, isGzip } = await peek(devmesh.blobs.get(artifact.sha256, options));
  const stages = isGzip ? [createGunzip(), entries] : [entries];
  const reading = pipeline([Readable.from(content), ...stages]).catch((error: unknown) => {
    entries.destroy(error instanceof Error ? error : new Error(String(error)));
    throw error;
  });
  const writing = (async () => {
    for await (const entry of entries) {
      const path = await writeEntry(root, entry.header, entry as AsyncIterable<Uint8Array>);
      entry.resume();
      if (path !== undefined) written.push(path);
    }
  })();
  const [wrote, read] = await Promise.allSettled([writing, reading]);
  // The writer's refusal also breaks the pipe; it is the one that explains.
  if (wrote.status === "rejected") throw wrote.reason;
  if (read.status === "rejected") throw read.reason;
  return { written };
}

/**
 * Does to a folder what a job did to its work dir: deletes, then writes. A path
 * that is a folder by now is not deleted; a folder that a deletion empties goes,
 * too. Undefined if the job changed nothing. Throws `WorkspaceError` for a path
 * that leads out of the folder, before anything is deleted, and
 * `WorkspaceConflictError` as `base` says.
 */
export async function applyChanges(
  devmesh: Pick<Devmesh, "blobs">,
  artifacts: readonly Pick<Artifact, "name" | "sha256">[],
  folder: string,
  options: ApplyOptions = {},
): Promise<ChangesReport | undefined> {
  const deletions = artifacts.find(({ name }) => name === changeNames.deleted);
  const archive = artifacts.find(({ name }) => name === changeNames.written);
  if (deletions === undefined && archive === undefined) return undefined;
  const root = await openFolder(folder);
  const gone =
    deletions === undefined ? [] : await readPaths(devmesh.blobs.get(deletions.sha256, options));
  if (options.base !== undefined) {
    const facts = async (sha256: string | undefined) =>
      sha256 ? await archiveFacts(devmesh.blobs.get(sha256, options)) : new Map<string, string>();
    const [before, after] = [await facts(options.base), await facts(archive?.sha256)];
    // What leads out is refused before it is looked at.
    for (const name of [...gone, ...after.keys()]) await innerPath(root, name);
    const conflicts = await findConflicts({ root, before, after, deleted: gone });
    if (conflicts.length > 0) throw new WorkspaceConflictError(conflicts);
  }
  const deleted = await deletePaths(root, gone);
  const { written } =
    archive === undefined
      ? { written: [] }
      : await unpackArtifact(devmesh, archive, folder, options);
  return { written, deleted };
}

/** Paths that each end with a NUL. */
async function readPaths(content: AsyncIterable<Uint8Array>): Promise<string[]> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of content) chunks.push(chunk);
  const paths = Buffer.concat(chunks).toString("utf8").split("\0");
  return paths.filter((path) => path !== "");
}

async function deletePaths(root: string, paths: readonly string[]): Promise<string[]> {
  const files: (readonly [name: string, file: string])[] = [];
  for (const name of paths) files.push([name, await innerPath(root, name)]);
  const deleted: string[] = [];
  for (const [name, file] of files) {
    if (!(await isThere(file)) || (await isFolder(file))) continue;
    await rm(file);
    deleted.push(name);
    await removeEmpty(root, dirname(file));
  }
  return deleted;
}

/** Removes a folder and those above it, as far as they are empty, inside of the root. */
async function removeEmpty(root: string, folder: string): Promise<void> {
  for (let at = folder; at !== root && isInside(root, at); at = dirname(at)) {
    try {
      await rmdir(at);
    } catch {
      // Something is still in it, so the ones above are not empty either.
      return;
    }
  }
}

async function writeEntry(
  root: string,
  header: Header,
  content: AsyncIterable<Uint8Array>,
): Promise<string | undefined> {
  const name = header.name.replace(/^(\.\/)+/, "").replace(/\/+$/, "");
  if (name === "" || name === ".") return undefined;
  const file = await innerPath(root, name);
  switch (header.type) {
    case "directory":
      await mkdir(file, { recursive: true });
      return undefined;
    case "file":
    case "contiguous-file":
      await mkdir(dirname(file), { recursive: true });
      await writeWhole(file, content, ((header.mode ?? 0) & 0o100) === 0 ? 0o644 : 0o755);
      return name;
    case "symlink": {
      const target = header.linkname ?? "";
      if (isAbsolute(target) || !isInside(root, resolve(dirname(file), target))) {
        throw new WorkspaceError(name, `${name} is a link that leads out of the folder`);
      }
      await mkdir(dirname(file), { recursive: true });
      await rm(file, { force: true });
      await symlink(target, file);
      return name;
    }
    default:
      throw new WorkspaceError(
        name,
        `${name} is a ${header.type}; only files, folders and links are unpacked`,
      );
  }
}

/** The absolute path of a name inside a folder; refuses every way out. */
async function innerPath(root: string, name: string): Promise<string> {
  const file = resolve(root, name);
  const isPlain = !isAbsolute(name) && !name.includes("\0") && !name.split(/[\\/]/).includes("..");
  if (!isPlain || file === root || !isInside(root, file)) {
    throw new WorkspaceError(name, `${JSON.stringify(name)} lies outside the folder`);
  }
  if (!(await hasRealParents(root, file))) {
    throw new WorkspaceError(name, `${name} lies behind a link or below a file`);
  }
  return file;
}

/** A half-written file never takes the place of the old one. */
async function writeWhole(
  file: string,
  content: AsyncIterable<Uint8Array>,
  mode: number,
): Promise<void> {
  const part = join(dirname(file), `.devmesh-${randomUUID()}.part`);
  try {
    await pipeline(content, createWriteStream(part, { mode, flags: "wx" }));
    await chmod(part, mode);
    if (await isFolder(file)) {
      throw new WorkspaceError(file, `${file} is a folder; a file cannot take its place`);
    }
    await rename(part, file);
  } catch (error) {
    await rm(part, { force: true });
    throw error;
  }
}

async function isThere(file: string): Promise<boolean> {
  try {
    await lstat(file);
    return true;
  } catch {
    // Nothing is there.
    return false;
  }
}

async function isFolder(file: string): Promise<boolean> {
  try {
    return (await lstat(file)).isDirectory();
  } catch {
    // Nothing is there.
    return false;
  }
}
