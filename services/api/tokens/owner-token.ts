/** The owner's token of an embedded platform: a file that only its user can read. */
import {
  chmodSync,
  closeSync,
  existsSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { DevmeshError, toDevmeshError } from "@devmesh/mesh/errors";
import { newTokenSecret, type Tokens } from "./tokens.ts";

/** Where the owner's token of a data folder lies. */
export function ownerTokenPath(dataDir: string): string {
  return join(dataDir, "owner.token");
}

/**
 * Makes the secret at the first start and keeps it in `path`, mode 0600; every
 * start makes sure that the store knows it. One that was revoked, or rotated
 * away, is replaced.
 * Answers the secret. Throws CONFIG_INVALID for a file with something else in it.
 */
export async function ensureOwnerToken(tokens: Tokens, path: string): Promise<string> {
  // The file comes first: a start that is cut off between the two is made good by the next.
  const isNew = !existsSync(path);
  if (isNew) writeSecret(path, linkSync);
  chmodSync(path, 0o600);
  return ensureKnown(tokens, path, isNew);
}

async function ensureKnown(tokens: Tokens, path: string, isNew: boolean): Promise<string> {
  const secret = readSecret(path);
  // Asked first: an owner that another backend makes of this very file meanwhile is found below.
  const hasOwner = await tokens.hasOwner();
  const state = await tokens.stateOf(secret);
  if (state === "works") {
    await tokens.promoteOwner(secret);
    return secret;
  }
  // A secret that a store with an owner does not know may have been rotated away long ago.
  if (state === "unknown" && (isNew || !hasOwner)) {
    await createOwner(tokens, secret);
    return secret;
  }
  writeSecret(path, renameSync);
  return ensureKnown(tokens, path, true);
}

async function createOwner(tokens: Tokens, secret: string): Promise<void> {
  try {
    await tokens.createOwner(secret);
  } catch (error) {
    // Another backend over the same store has made it known since.
    if (toDevmeshError(error).reason !== "ALREADY_EXISTS") throw error;
  }
}

function readSecret(path: string): string {
  const secret = readFileSync(path, "utf8").trim();
  if (/^dm_[A-Za-z0-9_-]{43}$/.test(secret)) return secret;
  throw new DevmeshError(
    "CONFIG_INVALID",
    `${path} holds no owner token: remove the file to get a new one`,
  );
}

/** Writes a new secret beside, and publishes it whole. With `linkSync` an earlier file wins. */
function writeSecret(path: string, publish: (from: string, to: string) => void): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const beside = `${path}.${process.pid}`;
  rmSync(beside, { force: true });
  const file = openSync(beside, "wx", 0o600);
  try {
    writeSync(file, `${newTokenSecret()}\n`);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  try {
    publish(beside, path);
  } catch (error) {
    // Another process was quicker: its file is read.
    if (!existsSync(path)) throw error;
  } finally {
    rmSync(beside, { force: true });
  }
}
