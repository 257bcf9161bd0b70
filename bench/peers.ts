/** Installs the libraries that benches compare devmesh with, outside of this project's own tree. */
import { createHash } from "node:crypto";
import { copyFileSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { cacheDir } from "../scripts/parts/cache.ts";
import { run } from "../scripts/parts/run.ts";

const manifest = join(import.meta.dirname, "peers", "package.json");
const installLimitMs = 300_000;

/** Loads a peer by its package name; installs all of them first if they are not there. */
export async function loadPeer<T>(name: string): Promise<T> {
  const folder = await installed();
  const path = createRequire(join(folder, "package.json")).resolve(name);
  return (await import(pathToFileURL(path).href)) as T;
}

/** The folder that holds the peers of this very manifest. */
async function installed(): Promise<string> {
  const digest = createHash("sha256").update(readFileSync(manifest)).digest("hex").slice(0, 12);
  const folder = join(cacheDir(), `bench-peers-${digest}`);
  if (existsSync(folder)) return folder;
  const work = `${folder}.${process.pid}`;
  mkdirSync(work, { recursive: true });
  try {
    copyFileSync(manifest, join(work, "package.json"));
    const flags = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
    await run("npm", ["install", ...flags], { cwd: work, timeoutMs: installLimitMs });
    renameSync(work, folder);
  } catch (error) {
    rmSync(work, { recursive: true, force: true });
    throw error;
  }
  return folder;
}
