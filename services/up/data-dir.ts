/** The data folder of an embedded platform: one process at a time, one secret for its services. */
import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { DevmeshError } from "@devmesh/mesh/errors";

/** A data folder that this process holds. */
export interface HeldDataDir {
  /** The secret of this platform's services, kept 0600 in the folder. */
  readonly serviceToken: string;
  /** Lets another process take the folder. */
  release(): void;
}

/**
 * Takes the folder for this process. The lock is the kernel's on a file, so
 * that it goes with the process, however that ends. Throws UNAVAILABLE if
 * another process has it or it cannot be written.
 */
export function holdDataDir(folder: string): HeldDataDir {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  } catch (cause) {
    throw new DevmeshError("UNAVAILABLE", `the data folder ${folder} cannot be made`, { cause });
  }
  const lock = new DatabaseSync(join(folder, "up.lock"), { timeout: 0 });
  try {
    lock.exec("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE");
  } catch (cause) {
    lock.close();
    throw new DevmeshError(
      "UNAVAILABLE",
      `another devmesh uses the data folder ${folder}: stop it, or choose another with --data-dir`,
      { cause },
    );
  }
  return { serviceToken: ensureSecret(join(folder, "service.token")), release: () => lock.close() };
}

function ensureSecret(path: string): string {
  if (!existsSync(path)) {
    writeFileSync(path, `${randomBytes(32).toString("base64url")}\n`, { mode: 0o600 });
  }
  return readFileSync(path, "utf8").trim();
}
