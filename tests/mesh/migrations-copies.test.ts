/** What is kept before a migration, who may read a store after it, and what an interrupted one leaves. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import {
  keepBeforeMigration,
  preparePostgres,
  prepareSqlite,
  verifyArchive,
} from "@devmesh/mesh/backup";
import { loadMigrations, openPostgres, openSqlite } from "@devmesh/mesh/database";
import { DevmeshError } from "@devmesh/mesh/errors";
import { expect } from "chai";
import { type Postgres, startPostgres } from "../../scripts/parts/postgres.ts";
import { until } from "../e2e/wait.ts";
import { need } from "../parts/need.ts";

const first = "CREATE TABLE notes (id integer PRIMARY KEY, body text NOT NULL);";
const column = (name: string) => `ALTER TABLE notes ADD COLUMN ${name} text;`;

let folder: string;
let path: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "copies-"));
  path = join(folder, "notes.db");
});
afterEach(() => rmSync(folder, { recursive: true }));

/** Migrations 1, 2, 3, … with these texts. */
function migrations(...texts: string[]) {
  const target = mkdtempSync(join(folder, "sql-"));
  texts.forEach((sql, i) => {
    writeFileSync(join(target, `000${i + 1}_step.sql`), sql);
  });
  return loadMigrations(target);
}

const files = () =>
  readdirSync(folder)
    .filter((name) => !name.startsWith("sql-"))
    .sort();

function open(...texts: string[]): void {
  openSqlite({ path, migrations: migrations(...texts) }).close();
}

function refusal(work: () => unknown): DevmeshError {
  try {
    work();
  } catch (error) {
    if (error instanceof DevmeshError) return error;
    throw error;
  }
  return expect.fail("it was taken");
}

function columnsOf(file: string): string[] {
  const db = new DatabaseSync(file, { readOnly: true });
  try {
    return db
      .prepare("SELECT name FROM pragma_table_info('notes')")
      .all()
      .map((row) => String(row.name));
  } finally {
    db.close();
  }
}

describe("before a SQLite store with data is migrated", () => {
  it("a copy is kept that an older program can open", () => {
    open(first);
    const db = openSqlite({ path, migrations: migrations(first) });
    db.exec("INSERT INTO notes (id, body) VALUES (1, 'kept')");
    db.close();
    open(first, column("a"), column("b"));
    expect(files()).to.deep.equal(["notes.before-2.sqlite", "notes.db"]);
    const copy = join(folder, "notes.before-2.sqlite");
    expect(statSync(copy).mode & 0o777).to.equal(0o600);
    expect(columnsOf(copy)).to.deep.equal(["id", "body"]);
    expect(columnsOf(path)).to.deep.equal(["id", "body", "a", "b"]);
    const old = openSqlite({ path: copy, migrations: migrations(first) });
    expect(old.prepare("SELECT body FROM notes").get()).to.deep.include({ body: "kept" });
    old.close();
  });

  it("the last three copies stay", () => {
    const texts = [first];
    for (const name of ["a", "b", "c", "d", "e"]) {
      open(...texts);
      texts.push(column(name));
    }
    open(...texts);
    const kept = [4, 5, 6].map((version) => `notes.before-${version}.sqlite`);
    expect(files()).to.deep.equal([...kept, "notes.db"]);
  });

  it("nothing is migrated if the copy cannot be kept", () => {
    open(first);
    mkdirSync(join(folder, "notes.before-2.sqlite", "in-the-way"), { recursive: true });
    expect(refusal(() => open(first, column("a")))).to.include({ reason: "UNAVAILABLE" });
    expect(files()).to.deep.equal(["notes.before-2.sqlite", "notes.db"]);
    expect(columnsOf(path)).to.deep.equal(["id", "body"]);
  });

  it("no copy is made of an empty store, nor where there is nothing to do", () => {
    open(first, column("a"));
    open(first, column("a"));
    expect(files()).to.deep.equal(["notes.db"]);
  });
});

describe("a store that is newer than the program", () => {
  it("is used if its migrations say so, and not migrated", () => {
    const newer = `-- reader: 1\n${column("a")}`;
    open(first, newer, `-- reader: 1\n${column("b")}`);
    open(first);
    expect(columnsOf(path)).to.deep.equal(["id", "body", "a", "b"]);
  });

  it("is refused if one of them does not", () => {
    open(first, `-- reader: 1\n${column("a")}`, `-- reader: 2\n${column("b")}`);
    const error = refusal(() => open(first));
    expect(error).to.include({ reason: "STORE_TOO_NEW" });
    expect(error.metadata).to.deep.equal({ found: "3", supported: "1" });
    open(first, `-- reader: 1\n${column("a")}`);
  });

  it("is refused if it does not say", () => {
    open(first, column("a"));
    expect(refusal(() => open(first))).to.include({ reason: "STORE_TOO_NEW" });
  });

  it("was migrated by a program that knew of no readers: that one is refused too", () => {
    open(first, `-- reader: 1\n${column("a")}`);
    const db = new DatabaseSync(path);
    db.exec("ALTER TABLE schema_migrations DROP COLUMN reader");
    db.close();
    expect(refusal(() => open(first))).to.include({ reason: "STORE_TOO_NEW" });
    open(first, `-- reader: 1\n${column("a")}`, column("b"));
  });

  it("needs a reader that makes sense", () => {
    for (const line of ["-- reader: 3", "-- reader: 0", "-- reader 1", "-- reader: one"]) {
      expect(() => migrations(first, `${line}\n${column("a")}`), line).to.throw("reader");
    }
  });
});

describe("a store whose migrations are not what they were", () => {
  it("is refused: one is missing in the middle", () => {
    open(first, column("a"), column("b"));
    const db = new DatabaseSync(path);
    db.exec("DELETE FROM schema_migrations WHERE version = 2");
    db.close();
    const error = refusal(() => open(first, column("a"), column("b")));
    expect(error).to.include({ reason: "INTERNAL" });
    expect(error.message).to.include("migration 2 was never applied");
  });

  it("is refused: one was edited, and no copy is made", () => {
    open(first, column("a"));
    const error = refusal(() => open(first, column("b"), column("c")));
    expect(error.message).to.include("migration 2 was edited");
    expect(files()).to.deep.equal(["notes.db"]);
  });
});

describe("a migration whose process is killed", function () {
  this.timeout(60_000);

  it("has not happened", async () => {
    open(first);
    const endless = `${column("a")} INSERT INTO notes (id, body, a)
      WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)
      SELECT 1, 'x', count(*) FROM n;`;
    const target = join(folder, "sql-endless");
    mkdirSync(target);
    writeFileSync(join(target, "0001_step.sql"), first);
    writeFileSync(join(target, "0002_step.sql"), endless);
    const program = `import { loadMigrations, openSqlite } from "@devmesh/mesh/database";
openSqlite({ path: process.env.TARGET, migrations: loadMigrations(process.env.SQL) });`;
    const child = spawn(process.execPath, ["--input-type=module-typescript", "-e", program], {
      cwd: import.meta.dirname,
      env: { ...process.env, TARGET: path, SQL: target },
      stdio: "inherit",
    });
    const ended = once(child, "close");
    try {
      await until(
        "the migration holds the store's lock",
        () => existsSync(join(folder, "notes.before-2.sqlite")) && isLocked(path),
      );
    } finally {
      child.kill("SIGKILL");
      await ended;
    }
    expect(columnsOf(path)).to.deep.equal(["id", "body"]);
    open(first, column("b"));
    expect(columnsOf(path)).to.deep.equal(["id", "body", "b"]);
  });
});

function isLocked(file: string): boolean {
  const db = new DatabaseSync(file, { timeout: 0 });
  try {
    db.exec("BEGIN IMMEDIATE; ROLLBACK");
    return false;
  } catch {
    // Somebody writes.
    return true;
  } finally {
    db.close();
  }
}

describe("before a Postgres schema with data is migrated", function () {
  this.timeout(300_000);
  let postgres: Postgres;
  before(async function () {
    postgres = need(this, await startPostgres());
  });
  after(() => postgres?.stop());

  const openSchema = async (schema: string, texts: string[], maxBytes?: number) => {
    const warnings: string[] = [];
    const pool = await openPostgres({
      url: postgres.url,
      schema,
      migrations: migrations(...texts),
      beforeMigration: keepBeforeMigration({
        folder: join(folder, "backups"),
        section: "notes",
        devmesh: "0.0.0",
        ...(maxBytes !== undefined && { maxBytes }),
        warn: (text) => warnings.push(text),
      }),
    });
    return { pool, warnings };
  };

  it("a backup is kept that restores at its version and is migrated then", async () => {
    const { pool } = await openSchema("kept", [first]);
    await pool.query("INSERT INTO notes (id, body) VALUES (1, 'kept')");
    await pool.end();
    const both = [first, column("a")];
    await (await openSchema("kept", both)).pool.end();
    const archive = join(folder, "backups", "notes.before-2.tar.gz");
    expect(statSync(archive).mode & 0o777).to.equal(0o600);
    const manifest = await verifyArchive(archive);
    expect(manifest.sections[0]).to.include({ name: "notes", schemaVersion: 1 });
    const source = { path: archive, manifest, section: "notes" };
    const restored = await preparePostgres({
      source,
      url: postgres.url,
      schema: "again",
      migrations: migrations(...both),
    });
    await restored.commit();
    const again = await openSchema("again", both);
    const { rows } = await again.pool.query("SELECT * FROM notes");
    expect(rows).to.deep.equal([{ id: 1, body: "kept", a: null }]);
    await again.pool.end();
    await (await prepareSqlite({ source, path, migrations: migrations(...both) })).commit();
    expect(columnsOf(path)).to.deep.equal(["id", "body", "a"]);
  });

  it("one that is too large is migrated without, and that is said", async () => {
    await (await openSchema("large", [first])).pool.end();
    const { pool, warnings } = await openSchema("large", [first, column("a")], 1);
    await pool.end();
    expect(warnings.join()).to.include("pg_dump --schema=large");
    expect(existsSync(join(folder, "backups"))).to.equal(false);
  });

  it("nothing is migrated if it cannot be kept", async () => {
    await (await openSchema("full", [first])).pool.end();
    writeFileSync(join(folder, "backups"), "a file in the way");
    const failed = await openSchema("full", [first, column("a")]).catch((e: unknown) => e);
    expect(failed).to.be.instanceOf(DevmeshError).and.include({ reason: "UNAVAILABLE" });
    rmSync(join(folder, "backups"));
    const { pool } = await openSchema("full", [first]);
    await pool.end();
  });

  it("older programs use a newer schema if its migrations say so", async () => {
    const newer = [first, `-- reader: 1\n${column("a")}`];
    await (await openSchema("rolling", newer)).pool.end();
    await (await openSchema("rolling", [first])).pool.end();
    await (await openSchema("rolling", [...newer, column("b")])).pool.end();
    const failed = await openSchema("rolling", [first]).catch((e: unknown) => e);
    expect(failed).to.be.instanceOf(DevmeshError).and.include({ reason: "STORE_TOO_NEW" });
  });
});
