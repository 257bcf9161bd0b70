/** The data folder of an embedded platform: one process at a time, one secret for its services. */
import { randomBytes } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type HeldFolder, holdFolder } from "@devmesh/mesh/runtime";

/** A data folder that this process holds. */
export interface HeldDataDir extends HeldFolder {
  /** The secret of this platform's services, kept 0600 in the folder. */
  readonly serviceToken: string;
}

/**
 * Takes the folder for this process. Throws UNAVAILABLE if another process has
 * it or it cannot be written.
 */
export function holdDataDir(folder: string): HeldDataDir {
  const lock = holdFolder(folder, "up", "stop it, or choose another with --data-dir");
  return {
    serviceToken: ensureSecret(join(folder, "service.token")),
    release: () => lock.release(),
  };
}

function ensureSecret(path: string): string {
  if (!existsSync(path)) {
    writeFileSync(path, `${randomBytes(32).toString("base64url")}\n`, { mode: 0o600 });
  }
  return readFileSync(path, "utf8").trim();
}
