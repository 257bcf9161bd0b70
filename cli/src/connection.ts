/** Owns which server and which token a command uses. */
import { readFileSync, statSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { isLoopbackHost } from "@devmesh/sdk";
import type { Args } from "./args.ts";
import { UsageError } from "./usage-error.ts";

type Env = Readonly<Record<string, string | undefined>>;

/** `--url`, then DEVMESH_URL, then the default. */
export function resolveUrl(args: Args, env: Env): string {
  return args.text("url") ?? (env.DEVMESH_URL || "http://127.0.0.1:8080");
}

/** `--token`, then DEVMESH_TOKEN, then the owner's token, which goes to loopback only. */
export function resolveToken(args: Args, env: Env, url: string): string | undefined {
  const given = args.text("token") ?? (env.DEVMESH_TOKEN || undefined);
  if (given !== undefined) return given.trim();
  return isLocal(url) ? readOwnerToken(join(dataFolder(env), "owner.token")) : undefined;
}

/** `DEVMESH_DATA_DIR`, or the user's own. */
export function dataFolder(env: Env): string {
  return env.DEVMESH_DATA_DIR || join(homedir(), ".local", "share", "devmesh");
}

function isLocal(url: string): boolean {
  if (url.startsWith("unix:")) return true;
  return URL.canParse(url) && isLoopbackHost(new URL(url).hostname);
}

function readOwnerToken(file: string): string | undefined {
  let mode: number;
  let text: string;
  try {
    mode = statSync(file).mode;
    text = readFileSync(file, "utf8");
  } catch {
    // No server was started from this data folder: there is no owner's token.
    return undefined;
  }
  if (process.platform !== "win32" && (mode & 0o077) !== 0) {
    throw new UsageError(`${file} can be read by others`, `chmod 600 ${file}`);
  }
  return text.trim() || undefined;
}
