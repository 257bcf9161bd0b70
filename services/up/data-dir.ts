/** The data folder of an embedded platform: one process at a time, one secret for its services. */
import { randomBytes } from "node:crypto";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type HeldFolder, holdFolder } from "@devmesh/mesh/runtime";

/** A data folder that this process holds. */
export interface HeldDataDir extends HeldFolder {
  /** The secret of this platform's services, kept 0600 in the folder. */
  readonly serviceToken: string;
  /** Leaves the address of the sandbox host in the folder, for who has the secret to call it. */
  tellHost(url: string): void;
}

/**
 * Takes the folder for this process. Throws UNAVAILABLE if another process has
 * it or it cannot be written.
 */
export function holdDataDir(folder: string): HeldDataDir {
  const lock = holdFolder(folder, "up", "stop it, or choose another with --data-dir");
  const hostFile = join(folder, "host.url");
  const forgetHost = () => rmSync(hostFile, { force: true });
  // Of a process that was killed.
  forgetHost();
  return {
    serviceToken: ensureSecret(join(folder, "service.token")),
    tellHost: (url) => writeFileSync(hostFile, `${url}\n`, { mode: 0o600 }),
    release() {
      forgetHost();
      lock.release();
    },
  };
}

function ensureSecret(path: string): string {
  if (!existsSync(path)) {
    writeFileSync(path, `${randomBytes(32).toString("base64url")}\n`, { mode: 0o600 });
  }
  return readFileSync(path, "utf8").trim();
}
