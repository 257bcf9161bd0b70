import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { loadMigrations, openPostgres, openSqlite } from "@devmesh/mesh/database";
import { DevmeshError } from "@devmesh/mesh/errors";
import { expect } from "chai";
import { type Postgres, startPostgres } from "../../scripts/parts/postgres.ts";
import { need } from "../parts/need.ts";

const run = promisify(execFile);
const first = "CREATE TABLE notes (id integer PRIMARY KEY);";
const second = "INSERT INTO notes (id) VALUES (1);";

let folder: string;
let sql: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "migrations-"));
  sql = join(folder, "sql");
  mkdirSync(sql);
  writeFileSync(join(sql, "0001_notes.sql"), first);
  writeFileSync(join(sql, "0002_first_note.sql"), second);
});
afterEach(() => rmSync(folder, { recursive: true }));

/** Runs a program in two processes at once; each opens the same empty store. */
function twice(program: string, env: Record<string, string>): Promise<unknown> {
  const args = ["--input-type=module-typescript", "-e", program];
  const options = { cwd: import.meta.dirname, env: { ...process.env, ...env } };
  return Promise.all([0, 1].map(() => run(process.execPath, args, options)));
}

const head = `import { loadMigrations, openPostgres, openSqlite } from "@devmesh/mesh/database";
const migrations = loadMigrations(process.env.SQL ?? "");
const target = process.env.TARGET ?? "";`;

describe("two processes at once on one SQLite file", function () {
  this.timeout(30_000);

  it("run each migration once", async () => {
    const path = join(folder, "notes.db");
    const program = `${head}\nopenSqlite({ path: target, migrations }).close();`;
    await twice(program, { SQL: sql, TARGET: path });
    const db = openSqlite({ path, migrations: loadMigrations(sql) });
    const versions = db.prepare("SELECT version FROM schema_migrations ORDER BY version").all();
    expect(versions.map(({ version }) => version)).to.deep.equal([1, 2]);
    expect(db.prepare("SELECT id FROM notes").all()).to.have.length(1);
    db.close();
  });
});

describe("a migration that fails", () => {
  it("takes those before it in the same start with it: SQLite", () => {
    const path = join(folder, "notes.db");
    writeFileSync(join(sql, "0003_broken.sql"), "CREATE TABLE more (id integer); SELECT nope;");
    expect(() => openSqlite({ path, migrations: loadMigrations(sql) })).to.throw("nope");
    const db = openSqlite({ path, migrations: [] });
    const tables = db.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").all();
    expect(tables.map(({ name }) => name)).to.deep.equal(["schema_migrations"]);
    db.close();
  });
});

describe("migrations on one Postgres schema", function () {
  this.timeout(300_000);
  let postgres: Postgres;
  before(async function () {
    postgres = need(this, await startPostgres());
  });
  after(() => postgres?.stop());

  const count = "SELECT count(*)::int AS n FROM pg_tables WHERE schemaname = ";

  it("run once when two processes start at once", async () => {
    const program = `${head}
await (await openPostgres({ url: target, schema: "twice", migrations })).end();`;
    await twice(program, { SQL: sql, TARGET: postgres.url });
    const migrations = loadMigrations(sql);
    const pool = await openPostgres({ url: postgres.url, schema: "twice", migrations });
    try {
      const { rows } = await pool.query("SELECT version FROM schema_migrations ORDER BY version");
      expect(rows.map(({ version }) => version)).to.deep.equal([1, 2]);
      expect((await pool.query("SELECT id FROM notes")).rows).to.have.length(1);
    } finally {
      await pool.end();
    }
  });

  it("leave nothing of a start that fails, and tell the server's words but not the password", async () => {
    writeFileSync(join(sql, "0003_broken.sql"), "SELECT nope;");
    const migrations = loadMigrations(sql);
    const { url } = postgres;
    const failed = await openPostgres({ url, schema: "broken", migrations }).catch(
      (e: unknown) => e,
    );
    expect(failed).to.be.instanceOf(DevmeshError).and.include({ reason: "INTERNAL" });
    expect(String(failed)).to.include("0003_broken.sql");
    expect(String(failed)).to.include("nope").and.not.include(new URL(url).password);
    const pool = await openPostgres({ url, schema: "other", migrations: [] });
    try {
      const { rows } = await pool.query(`${count} 'broken'`);
      expect(rows).to.deep.equal([{ n: 0 }]);
    } finally {
      await pool.end();
    }
  });

  it("keep to their schema", async () => {
    const migrations = loadMigrations(sql);
    const open = (schema: string) => openPostgres({ url: postgres.url, schema, migrations });
    for (const schema of ["one", "two"]) await (await open(schema)).end();
    const pool = await open("one");
    try {
      const { rows } = await pool.query(`${count} 'public'`);
      expect(rows).to.deep.equal([{ n: 0 }]);
    } finally {
      await pool.end();
    }
  });
});
