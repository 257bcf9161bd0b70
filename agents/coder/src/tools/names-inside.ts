/** Owns finding the names that a file with several hard links has inside the work dir. */
import type { Dirent, Stats } from "node:fs";
import { lstat, readdir } from "node:fs/promises";
import { join } from "node:path";

/** Looking for names ends here: a larger tree counts as if there were none left to find. */
const maxEntries = 200_000;

/** How many names of a file are below a folder; links are not followed. */
export async function namesInside(
  root: string,
  { dev, ino, nlink }: Pick<Stats, "dev" | "ino" | "nlink">,
): Promise<number> {
  let found = 0;
  let seen = 0;
  const folders = [root];
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    for (const entry of await entriesOf(folder)) {
      seen += 1;
      if (found === nlink || seen > maxEntries) return found;
      const path = join(folder, entry.name);
      if (entry.isDirectory()) folders.push(path);
      else if (entry.isFile() && (await isSame(path, dev, ino))) found += 1;
    }
  }
  return found;
}

async function isSame(path: string, dev: number, ino: number): Promise<boolean> {
  try {
    const info = await lstat(path);
    return info.dev === dev && info.ino === ino;
  } catch {
    // Removed meanwhile: a name that is none any more.
    return false;
  }
}

async function entriesOf(folder: string): Promise<Dirent[]> {
  try {
    return await readdir(folder, { withFileTypes: true });
  } catch {
    // Removed meanwhile, or not ours to read: no name of ours is in it.
    return [];
  }
}
