/** The owner's token of an embedded platform: a file that only its user can read. */
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { DevmeshError } from "@devmesh/mesh/errors";
import type { Tokens } from "./tokens.ts";

/** Where the owner's token of a data folder lies. */
export function ownerTokenPath(dataDir: string): string {
  return join(dataDir, "owner.token");
}

/**
 * Makes the token at the first start and keeps it in `path`, mode 0600; later
 * starts make sure that the store knows the file's token. Answers the secret.
 */
export async function ensureOwnerToken(tokens: Tokens, path: string): Promise<string> {
  if (!existsSync(path)) {
    const { secret } = await tokens.createOwner();
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    writeFileSync(path, `${secret}\n`, { mode: 0o600 });
    return secret;
  }
  chmodSync(path, 0o600);
  const secret = readFileSync(path, "utf8").trim();
  if (!/^dm_[A-Za-z0-9_-]{43}$/.test(secret)) {
    throw new DevmeshError(
      "CONFIG_INVALID",
      `${path} holds no owner token: remove the file to get a new one`,
    );
  }
  if (!(await tokens.isKnown(secret))) await tokens.createOwner(secret);
  return secret;
}
