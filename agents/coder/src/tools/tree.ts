/** Owns walking over the work dir in one fixed order; links are told, never followed. */
import type { Dirent } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";

/** One thing below a folder. */
export interface TreeEntry {
  /** Relative to the folder that is walked, with `/`. */
  readonly path: string;
  /** Absolute. */
  readonly file: string;
  readonly kind: "file" | "folder" | "link" | "other";
}

/** Folders that no file tool looks into: other people's code and version control's own. */
export const skippedFolders: readonly string[] = [".git", ".hg", ".svn", "node_modules"];

/** Everything below a folder, sorted by name; a folder that cannot be read is empty. */
export async function* walkTree(
  folder: string,
  signal: AbortSignal,
  prefix = "",
): AsyncGenerator<TreeEntry, void, undefined> {
  for (const entry of await entriesOf(folder)) {
    signal.throwIfAborted();
    const kind = kindOf(entry);
    if (kind === "folder" && skippedFolders.includes(entry.name)) continue;
    const path = `${prefix}${entry.name}`;
    const file = join(folder, entry.name);
    yield { path, file, kind };
    if (kind === "folder") yield* walkTree(file, signal, `${path}/`);
  }
}

async function entriesOf(folder: string): Promise<Dirent[]> {
  try {
    const entries = await readdir(folder, { withFileTypes: true });
    return entries.sort((a, b) => (a.name < b.name ? -1 : 1));
  } catch {
    // Removed meanwhile, or not ours to read: the rest of the tree still counts.
    return [];
  }
}

function kindOf(entry: Dirent): TreeEntry["kind"] {
  if (entry.isFile()) return "file";
  if (entry.isDirectory()) return "folder";
  return entry.isSymbolicLink() ? "link" : "other";
}
