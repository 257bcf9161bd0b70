/** Copies of a SQLite file from before its migrations, beside it. */
import { closeSync, fsyncSync, openSync, readdirSync, renameSync, rmSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { DatabaseSync } from "node:sqlite";

/** How many copies of one file stay. */
const kept = 3;

/**
 * Keeps the file at version `from` as `<name>.before-<to>.sqlite`, mode 0600.
 * The copy gets its name when it is whole and durable. Nothing is kept if
 * another process has migrated the file meanwhile: that one has kept it.
 */
export function keepSqliteCopy(
  db: DatabaseSync,
  path: string,
  versions: { readonly from: number; readonly to: number },
): void {
  const target = copyPath(path, versions.to);
  const beside = `${target}.${process.pid}`;
  rmSync(beside, { force: true });
  try {
    // SQLite takes an empty file for its copy: this one is nobody else's to read.
    closeSync(openSync(beside, "wx", 0o600));
    db.prepare("VACUUM INTO ?1").run(beside);
    if (versionOf(beside) !== versions.from) return;
    sync(beside);
    renameSync(beside, target);
    sync(dirname(path));
  } finally {
    rmSync(beside, { force: true });
  }
  dropOld(path);
}

function copyPath(path: string, version: number): string {
  return join(dirname(path), `${nameOf(path)}.before-${version}.sqlite`);
}

function nameOf(path: string): string {
  return basename(path).replace(/\.[^.]+$/, "");
}

function dropOld(path: string): void {
  const prefix = `${nameOf(path)}.before-`;
  const versions = readdirSync(dirname(path))
    .filter((name) => name.startsWith(prefix) && /^\d+\.sqlite$/.test(name.slice(prefix.length)))
    .map((name) => Number.parseInt(name.slice(prefix.length), 10))
    .sort((a, b) => b - a);
  for (const version of versions.slice(kept)) rmSync(copyPath(path, version));
}

function versionOf(path: string): number {
  const db = new DatabaseSync(path, { readOnly: true });
  try {
    const row = db.prepare("SELECT max(version) AS version FROM schema_migrations").get();
    return Number(row?.version);
  } finally {
    db.close();
  }
}

function sync(path: string): void {
  const file = openSync(path, "r");
  try {
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}
