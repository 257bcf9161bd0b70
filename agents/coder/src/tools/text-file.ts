/** Owns reading and writing of text files behind the jail: regular files, UTF-8, bounded. */
import { constants, type Stats } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { fileError } from "./file-error.ts";
import { openFile, statInside } from "./inside.ts";
import type { JailedPath } from "./jail.ts";
import { ToolError } from "./tool.ts";

/** The largest file that is read or written, in bytes. */
export const maxFileBytes = 2 * 1024 * 1024;

/** What is at a path. Throws `ToolError` if nothing is. */
export async function statOf(path: JailedPath): Promise<Stats> {
  try {
    return await statInside(path);
  } catch (error) {
    throw error instanceof ToolError ? error : fileError(path.shown, error);
  }
}

/** The text of a file. Throws `ToolError` for folders, devices, binary and too large files. */
export async function readText(path: JailedPath): Promise<string> {
  const bytes = await withFile(path, constants.O_RDONLY, async (file) => {
    const info = await file.stat();
    if (info.isDirectory()) throw new ToolError(`${path.shown}: is a folder; use list_files`);
    if (!info.isFile()) throw new ToolError(`${path.shown}: is not a regular file`);
    if (info.size > maxFileBytes) {
      throw new ToolError(`${path.shown}: has ${info.size} bytes, more than ${maxFileBytes}`);
    }
    return file.readFile();
  });
  if (bytes.subarray(0, 8192).includes(0)) throw new ToolError(`${path.shown}: is a binary file`);
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new ToolError(`${path.shown}: is not UTF-8 text`);
  }
}

/** Puts a text where a file is or may be; the mode of a file that was there stays. */
export async function writeText(path: JailedPath, text: string): Promise<void> {
  const bytes = Buffer.from(text.toWellFormed());
  if (bytes.length > maxFileBytes) {
    throw new ToolError(`${path.shown}: the text has more than ${maxFileBytes} bytes`);
  }
  await withFile(path, constants.O_WRONLY | constants.O_CREAT, async (file) => {
    const info = await file.stat();
    if (info.isDirectory()) throw new ToolError(`${path.shown}: is a folder`);
    if (!info.isFile()) throw new ToolError(`${path.shown}: is not a regular file`);
    await file.truncate(0);
    await file.writeFile(bytes);
  });
}

/** Opens what the jail resolved, and closes it again. */
async function withFile<T>(
  path: JailedPath,
  flags: number,
  use: (file: FileHandle) => Promise<T>,
): Promise<T> {
  const file = await openFile(path, flags);
  try {
    return await use(file);
  } catch (error) {
    throw error instanceof ToolError ? error : fileError(path.shown, error);
  } finally {
    await file.close();
  }
}
