/** Owns the places that a command is told to write to: each is looked at before any work is done. */
import { lstat, mkdir, stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { UsageError } from "./usage-error.ts";

/** A folder to write into, which is made if need be. Throws `UsageError` that names the option. */
export async function outputFolder(option: string, path: string): Promise<string> {
  const folder = resolve(path);
  try {
    await makeFolder(folder);
    if ((await stat(folder)).isDirectory()) return folder;
  } catch (error) {
    throw new UsageError(`${option}: ${folder} cannot be made (${codeOf(error)})`, remedy);
  }
  throw new UsageError(`${option}: ${folder} is no folder`, remedy);
}

/** A file to write, new or over another plain one. Throws `UsageError` that names the option. */
export async function outputFile(option: string, path: string): Promise<string> {
  const file = resolve(path);
  const parent = await stat(dirname(file)).catch(() => undefined);
  if (parent?.isDirectory() !== true) {
    throw new UsageError(`${option}: there is no folder ${dirname(file)}`, remedy);
  }
  const found = await lstat(file).catch(() => undefined);
  if (found === undefined || found.isFile()) return file;
  const what = found.isDirectory() ? "a folder" : "no plain file";
  throw new UsageError(`${option}: ${file} is ${what}`, remedy);
}

/** A file that is not there yet. Throws `UsageError` that names the option. */
export async function newOutputFile(option: string, path: string): Promise<string> {
  const file = await outputFile(option, path);
  const found = await lstat(file).catch(() => undefined);
  if (found === undefined) return file;
  throw new UsageError(`${option}: ${file} is there already`, remedy);
}

const remedy = "name another place";

/** Step by step: Node's own way never ends below `/proc`. */
async function makeFolder(folder: string): Promise<void> {
  const found = await stat(folder).catch(() => undefined);
  if (found !== undefined) return;
  await makeFolder(dirname(folder));
  await mkdir(folder).catch((error: unknown) => {
    if (codeOf(error) !== "EEXIST") throw error;
  });
}

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : String(error);
}
