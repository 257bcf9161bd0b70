/** A folder that one process at a time may use. What is in it is the caller's business. */
import { existsSync, mkdirSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { DevmeshError } from "../errors/index.ts";

/** A folder that this process holds. */
export interface HeldFolder {
  /** Lets another process take the folder. */
  release(): void;
}

/**
 * Takes a folder for this process, by the file `<name>.lock` in it. The lock is
 * the kernel's, so that it goes with the process, however that ends. Throws
 * UNAVAILABLE if another process has it (`remedy` says what to do then), or the
 * folder cannot be written.
 */
export function holdFolder(folder: string, name: string, remedy: string): HeldFolder {
  try {
    makeFolder(folder);
    if (!statSync(folder).isDirectory()) throw new Error(`${folder} is no folder`);
  } catch (cause) {
    throw new DevmeshError("UNAVAILABLE", `the data folder ${folder} cannot be made`, { cause });
  }
  const lock = new DatabaseSync(join(folder, `${name}.lock`), { timeout: 0 });
  try {
    lock.exec("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE");
  } catch (cause) {
    lock.close();
    throw new DevmeshError(
      "UNAVAILABLE",
      `another devmesh uses the data folder ${folder}: ${remedy}`,
      {
        cause,
      },
    );
  }
  return { release: () => lock.close() };
}

/** Step by step: Node's own way never ends below `/proc`. */
function makeFolder(folder: string): void {
  if (existsSync(folder)) return;
  makeFolder(dirname(folder));
  try {
    mkdirSync(folder, { mode: 0o700 });
  } catch (error) {
    if (!existsSync(folder)) throw error;
  }
}
