/** Owns walking over the work dir in one fixed order; links are told, never followed. */
import type { Dirent } from "node:fs";
import { type FileHandle, readdir } from "node:fs/promises";
import { join } from "node:path";
import { inFolder, openFolder, openFolderIn } from "./inside.ts";
import type { JailedPath } from "./jail.ts";

/** One thing below a folder. */
export interface TreeEntry {
  /** Relative to the folder that is walked, with `/`. */
  readonly path: string;
  /** Where it can be looked at until the next one is asked for; its name may be a link by then. */
  readonly file: string;
  readonly kind: "file" | "folder" | "link" | "other";
}

/** Folders that no file tool looks into: other people's code and version control's own. */
export const skippedFolders: readonly string[] = [".git", ".hg", ".svn", "node_modules"];

/** Everything below a folder, sorted by name; a folder that cannot be read is empty. */
export async function* walkTree(
  path: JailedPath,
  signal: AbortSignal,
  options: { readonly prefix?: string; readonly skipped?: readonly string[] } = {},
): AsyncGenerator<TreeEntry, void, undefined> {
  const { prefix = "", skipped = skippedFolders } = options;
  const folder = await openFolder(path);
  try {
    yield* walk({ folder, path: path.real }, signal, prefix, skipped);
  } finally {
    await folder?.close();
  }
}

/** A folder by its descriptor, or by its path where descriptors do not help. */
interface Place {
  readonly folder: FileHandle | undefined;
  readonly path: string;
}

async function* walk(
  place: Place,
  signal: AbortSignal,
  prefix: string,
  skipped: readonly string[],
): AsyncGenerator<TreeEntry, void, undefined> {
  for (const entry of await entriesOf(place)) {
    signal.throwIfAborted();
    const kind = kindOf(entry);
    if (kind === "folder" && skipped.includes(entry.name)) continue;
    const path = `${prefix}${entry.name}`;
    const { folder } = place;
    const file = folder ? inFolder(folder, entry.name) : join(place.path, entry.name);
    yield { path, file, kind };
    if (kind !== "folder") continue;
    const inner = await innerPlace(place, entry.name);
    if (inner === undefined) continue;
    try {
      yield* walk(inner, signal, `${path}/`, skipped);
    } finally {
      await inner.folder?.close();
    }
  }
}

async function innerPlace({ folder, path }: Place, name: string): Promise<Place | undefined> {
  if (folder === undefined) return { folder, path: join(path, name) };
  try {
    return { folder: await openFolderIn(folder, name), path: join(path, name) };
  } catch {
    // Removed, not ours to read, or a link by now: the rest of the tree still counts.
    return undefined;
  }
}

async function entriesOf({ folder, path }: Place): Promise<Dirent[]> {
  try {
    const at = folder ? inFolder(folder, ".") : path;
    const entries = await readdir(at, { withFileTypes: true });
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
