/**
 * Builds what is served or shipped as files: the console and the coding agent.
 * What is newer than its sources is left as it is; `--force` builds all.
 */
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { buildCoder } from "../agents/coder/build.ts";
import { buildRunner } from "../services/vm/install/build.ts";

const root = join(import.meta.dirname, "..");
const force = process.argv.includes("--force");

/** The newest change below some folders, in milliseconds. */
function newest(folders: readonly string[]): number {
  let found = 0;
  for (const folder of folders) {
    for (const entry of readdirSync(join(root, folder), { recursive: true, withFileTypes: true })) {
      if (!entry.isFile() || /node_modules|dist/.test(entry.parentPath)) continue;
      found = Math.max(found, statSync(join(entry.parentPath, entry.name)).mtimeMs);
    }
  }
  return found;
}

const page = join(root, "web", "dist", "index.html");
const stale =
  force || !existsSync(page) || statSync(page).mtimeMs < newest(["web/src", "sdk/ts/src"]);
if (stale) {
  console.error("devmesh: building the console");
  execFileSync(
    process.execPath,
    [join(root, "node_modules/vite/bin/vite.js"), "build", "--logLevel", "error"],
    {
      cwd: join(root, "web"),
      stdio: ["ignore", "ignore", "inherit"],
    },
  );
}
await buildCoder();
const bundle = join(root, "services", "vm", "dist", "runner", "runner.mjs");
const sources = ["services/vm", "services/mesh", "gen"];
if (force || !existsSync(bundle) || statSync(bundle).mtimeMs < newest(sources)) await buildRunner();
