/** Owns which files of a folder are documents for the memory. */
import { lstat, open, readFile, realpath, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { isInside, openFolder, type TreeSkip, WorkspaceError, walkTree } from "./tree.ts";

/** A file to take in. */
export interface DocumentFile {
  readonly kind: "document";
  /** Relative to the folder, with `/`. */
  readonly source: string;
  readonly text: string;
}

/** A file that was left out, and why. */
export interface DocumentSkip {
  readonly kind: "skipped";
  readonly source: string;
  readonly reason:
    | TreeSkip["reason"]
    | "binary"
    | "too-large"
    | "outside"
    | "special"
    | "unreadable";
}

const maxDocumentBytes = 4 * 1024 * 1024;

/**
 * The text files below a folder, in a fixed order, and what was left out: VCS
 * folders, `node_modules`, what `.gitignore` names, binary files, files over
 * 4 MiB, links that leave the folder. Links inside it are left out as well:
 * what they lead to comes by itself. A single file is a folder of one.
 */
export async function* walkDocuments(
  path: string,
  options: { readonly gitignore?: boolean; readonly signal?: AbortSignal } = {},
): AsyncGenerator<DocumentFile | DocumentSkip, void, undefined> {
  if (await isFile(path)) {
    yield await readDocument(basename(path), path);
    return;
  }
  const root = await openFolder(path);
  const skips: TreeSkip[] = [];
  const walk = walkTree(root, {
    ...options,
    skipDependencies: true,
    onSkip: (skip) => skips.push(skip),
  });
  for await (const entry of walk) {
    for (const skip of skips.splice(0)) yield skipped(skip.path, skip.reason);
    switch (entry.kind) {
      case "folder":
        break;
      case "file":
        yield await readDocument(entry.path, entry.file);
        break;
      case "link":
        if (!(await leadsInside(root, entry.file))) yield skipped(entry.path, "outside");
        break;
      case "other":
        yield skipped(entry.path, "special");
        break;
      default:
        entry.kind satisfies never;
    }
  }
  for (const skip of skips) yield skipped(skip.path, skip.reason);
}

async function isFile(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isFile();
  } catch (error) {
    throw new WorkspaceError(path, `there is no file or folder ${path}`, { cause: error });
  }
}

function skipped(source: string, reason: DocumentSkip["reason"]): DocumentSkip {
  return { kind: "skipped", source, reason };
}

async function leadsInside(root: string, file: string): Promise<boolean> {
  try {
    return isInside(root, await realpath(file));
  } catch {
    // A link to nothing leads nowhere, so not outside.
    return true;
  }
}

async function readDocument(source: string, file: string): Promise<DocumentFile | DocumentSkip> {
  try {
    if ((await lstat(file)).size > maxDocumentBytes) return skipped(source, "too-large");
    if (await startsBinary(file)) return skipped(source, "binary");
    const bytes = await readFile(file);
    return {
      kind: "document",
      source,
      text: new TextDecoder("utf-8", { fatal: true }).decode(bytes),
    };
  } catch (error) {
    return skipped(source, error instanceof TypeError ? "binary" : "unreadable");
  }
}

/** Git's own test: a NUL among the first bytes. */
async function startsBinary(file: string): Promise<boolean> {
  const handle = await open(join(file));
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(8000), 0, 8000, 0);
    return buffer.subarray(0, bytesRead).includes(0);
  } finally {
    await handle.close();
  }
}
