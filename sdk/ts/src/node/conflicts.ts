/** Owns finding what changed in a folder while a job worked on a copy of it. */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { lstat, readlink } from "node:fs/promises";
import { join } from "node:path";
import { type ArchiveFacts, fileFact, linkFact } from "./archive-facts.ts";

/** Files that changed meanwhile; nothing was written. */
export class WorkspaceConflictError extends Error {
  override readonly name = "WorkspaceConflictError";
  /** Paths relative to the folder, sorted. */
  readonly paths: readonly string[];

  /** `paths`: what both changed. */
  constructor(paths: readonly string[]) {
    const shown = paths.slice(0, 20).join(", ");
    const more = paths.length > 20 ? ` and ${paths.length - 20} more` : "";
    super(`nothing is applied: changed since the job began: ${shown}${more}`);
    this.paths = paths;
  }
}

/** What was there before the job, and what it made of it. */
export interface ConflictInput {
  /** The folder's real path. */
  readonly root: string;
  /** The archive that the job began with. */
  readonly before: ArchiveFacts;
  /** What it changed. */
  readonly after: ArchiveFacts;
  /** What it deleted. */
  readonly deleted: readonly string[];
}

/**
 * Paths that are neither as they were when the job began nor already as it left
 * them.
 */
export async function findConflicts(input: ConflictInput): Promise<string[]> {
  const { root, before, after, deleted } = input;
  const wanted = new Map<string, string | undefined>(after);
  for (const path of deleted) wanted.set(path, undefined);
  const conflicts: string[] = [];
  for (const [path, target] of wanted) {
    const now = await factAt(join(root, path));
    if (now !== before.get(path) && now !== target) conflicts.push(path);
  }
  return conflicts.sort();
}

/** What is at a path; undefined: nothing. */
async function factAt(path: string): Promise<string | undefined> {
  try {
    const info = await lstat(path);
    if (info.isSymbolicLink()) return linkFact(await readlink(path));
    if (!info.isFile()) return "other";
    const hash = createHash("sha256");
    for await (const chunk of createReadStream(path)) hash.update(chunk as Uint8Array);
    return fileFact(hash.digest("hex"));
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : "";
    // A file where a folder was: nothing is at the path itself.
    if (code === "ENOENT" || code === "ENOTDIR") return undefined;
    throw error;
  }
}
