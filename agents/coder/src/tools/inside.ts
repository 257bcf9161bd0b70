/**
 * Owns opening what the jail resolved so that nothing that changes meanwhile
 * leads out: on Linux part by part from the work dir on, following no link.
 */
import { constants, type Stats } from "node:fs";
import { type FileHandle, mkdir, open, readlink, stat } from "node:fs/promises";
import { relative, sep } from "node:path";
import { errorCode } from "../text.ts";
import { fileError } from "./file-error.ts";
import { isInside, type JailedPath } from "./jail.ts";
import { namesInside } from "./names-inside.ts";
import { ToolError } from "./tool.ts";

/** Only Linux reaches the files of an open folder by its descriptor. */
const byDescriptor = process.platform === "linux";

/** Linux's O_PATH, which Node does not name: a place in the tree, not its content. */
const placeOnly = 0o10000000;

const folderFlags = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;

/** The path of something in an open folder; `name` is one part. */
export function inFolder(folder: FileHandle, name: string): string {
  return `/proc/self/fd/${folder.fd}/${name}`;
}

/** Opens a folder of an open folder; throws the system's error for a link. */
export function openFolderIn(folder: FileHandle, name: string): Promise<FileHandle> {
  return open(inFolder(folder, name), folderFlags);
}

/** Opens the folder itself; undefined where descriptors do not help. Throws `ToolError`. */
export async function openFolder(path: JailedPath): Promise<FileHandle | undefined> {
  return byDescriptor ? openAt(path, folderFlags) : undefined;
}

/** Opens a file, never through a link; a pipe without a writer does not block. Throws `ToolError`. */
export async function openFile(path: JailedPath, flags: number): Promise<FileHandle> {
  const file = await openAt(path, flags | constants.O_NONBLOCK);
  try {
    await checkNames(path, await file.stat());
    return file;
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** What is at the path. Throws `ToolError` if nothing is, or a link came into its place. */
export async function statInside(path: JailedPath): Promise<Stats> {
  if (!byDescriptor) return stat(path.real);
  const place = await openAt(path, placeOnly);
  try {
    const info = await place.stat();
    if (info.isSymbolicLink()) throw new ToolError(`${path.shown}: became a link meanwhile`);
    return info;
  } finally {
    await place.close();
  }
}

/** Makes the folders above a path that are not there yet. Throws `ToolError`. */
export async function makeParents(path: JailedPath): Promise<void> {
  const parts = partsOf(path).slice(0, -1);
  if (parts.length === 0) return;
  if (!byDescriptor) {
    await mkdir(path.real.slice(0, path.real.lastIndexOf(sep)), { recursive: true });
    return;
  }
  const parent = await walk(path, parts, async (folder, name) => {
    try {
      await mkdir(inFolder(folder, name));
    } catch (error) {
      // There already: whether it is a folder is told by opening it.
      if (errorCode(error) !== "EEXIST") throw error;
    }
  });
  await parent.close();
}

/** Does something in the folder of a path, reached without a link: `use` gets the path to use. */
export async function inParent<T>(path: JailedPath, use: (at: string) => Promise<T>): Promise<T> {
  if (!byDescriptor) return use(path.real);
  const parts = partsOf(path);
  const parent = await walk(path, parts.slice(0, -1));
  try {
    return await use(inFolder(parent, parts.at(-1) ?? "."));
  } catch (error) {
    throw fileError(path.shown, error);
  } finally {
    await parent.close();
  }
}

async function openAt(path: JailedPath, flags: number): Promise<FileHandle> {
  const all = flags | constants.O_NOFOLLOW;
  if (!byDescriptor) {
    try {
      return await open(path.real, all, 0o644);
    } catch (error) {
      throw fileError(path.shown, error);
    }
  }
  const parts = partsOf(path);
  const file =
    parts.length === 0 ? await openRoot(path) : await inParent(path, (at) => open(at, all, 0o644));
  try {
    // A folder that was moved out of the work dir while it was open.
    const now = await readlink(`/proc/self/fd/${file.fd}`);
    if (!isInside(path.root, now)) throw new ToolError(`${path.shown}: left the work dir`);
    return file;
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** Opens one folder after the other; `before` may make each. The caller closes the last. */
async function walk(
  path: JailedPath,
  parts: readonly string[],
  before?: (folder: FileHandle, name: string) => Promise<void>,
): Promise<FileHandle> {
  let folder = await openRoot(path);
  try {
    for (const name of parts) {
      await before?.(folder, name);
      const next = await openFolderIn(folder, name);
      await folder.close();
      folder = next;
    }
    return folder;
  } catch (error) {
    await folder.close();
    throw error instanceof ToolError ? error : fileError(path.shown, error);
  }
}

async function openRoot({ root, shown }: JailedPath): Promise<FileHandle> {
  try {
    return await open(root, constants.O_RDONLY | constants.O_DIRECTORY);
  } catch (error) {
    throw fileError(shown, error);
  }
}

function partsOf({ root, real }: JailedPath): string[] {
  return relative(root, real)
    .split(sep)
    .filter((part) => part !== "");
}

/** A file with a name outside of the work dir is not the job's alone. */
async function checkNames(path: JailedPath, info: Stats): Promise<void> {
  if (!info.isFile() || info.nlink < 2) return;
  if ((await namesInside(path.root, info)) >= info.nlink) return;
  throw new ToolError(`${path.shown}: is a hard link with a name outside the work dir`);
}
