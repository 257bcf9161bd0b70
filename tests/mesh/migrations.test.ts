import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadMigrations, openPostgres, openSqlite, withTransaction } from "@devmesh/mesh/database";
import { DevmeshError } from "@devmesh/mesh/errors";
import { expect } from "chai";
import { type Postgres, startPostgres } from "../../scripts/parts/postgres.ts";
import { need } from "../parts/need.ts";

const first = "CREATE TABLE notes (id integer PRIMARY KEY, body text NOT NULL);";
const second = "ALTER TABLE notes ADD COLUMN author text;";

/** What a store must be asked the same way in every dialect. */
interface Store {
  /** Opens it with the migrations, lists the columns of `notes`, closes it. */
  columns(folder: string): Promise<string[]>;
}

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "migrations-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

function write(files: Record<string, string>): string {
  const target = mkdtempSync(join(folder, "sql-"));
  for (const [name, sql] of Object.entries(files)) writeFileSync(join(target, name), sql);
  return target;
}

async function reasonOf(result: Promise<unknown>): Promise<string> {
  const error = await result.catch((e: unknown) => e);
  expect(error).to.be.instanceOf(DevmeshError);
  return (error as DevmeshError).reason;
}

function conformance(store: () => Store): void {
  it("come from empty, and from an older version", async () => {
    const old = write({ "0001_notes.sql": first });
    const now = write({ "0001_notes.sql": first, "0002_author.sql": second });
    expect(await store().columns(old)).to.deep.equal(["id", "body"]);
    expect(await store().columns(now)).to.deep.equal(["id", "body", "author"]);
    expect(await store().columns(now)).to.deep.equal(["id", "body", "author"]);
  });

  it("refuse a file that was edited after it ran", async () => {
    await store().columns(write({ "0001_notes.sql": first }));
    const edited = write({ "0001_notes.sql": `${first} -- edited` });
    expect(await reasonOf(store().columns(edited))).to.equal("INTERNAL");
  });

  it("refuse a store of a newer version", async () => {
    await store().columns(write({ "0001_notes.sql": first, "0002_author.sql": second }));
    const older = write({ "0001_notes.sql": first });
    expect(await reasonOf(store().columns(older))).to.equal("STORE_TOO_NEW");
  });

  it("are named where the database refuses them: trying again would change nothing", async () => {
    const broken = write({
      "0001_notes.sql": first,
      "0002_broken.sql": "ALTER TABLE nobody ADD x int;",
    });
    const error = await store()
      .columns(broken)
      .catch((e: unknown) => e);
    expect(error).to.be.instanceOf(DevmeshError);
    const { reason, message } = error as DevmeshError;
    expect(reason).to.equal("INTERNAL");
    expect(message).to.include("0002_broken.sql").and.to.include("nobody");
  });

  it("leave nothing of a migration that fails", async () => {
    const broken = write({ "0001_notes.sql": first, "0002_broken.sql": "CREATE TABLE" });
    await store()
      .columns(broken)
      .then(
        () => expect.fail("the broken migration was taken"),
        () => {},
      );
    expect(await store().columns(write({ "0001_notes.sql": first }))).to.deep.equal(["id", "body"]);
  });
}

describe("migrations", () => {
  it("are numbered without a gap", () => {
    const gap = write({ "0001_a.sql": first, "0003_b.sql": second });
    expect(() => loadMigrations(gap)).to.throw("breaks the numbering");
  });
});

describe("migrations on SQLite", () => {
  conformance(() => ({
    async columns(migrations) {
      const path = join(folder, "data", "notes.db");
      const db = openSqlite({ path, migrations: loadMigrations(migrations) });
      try {
        const rows = db.prepare("SELECT name FROM pragma_table_info('notes')").all();
        return rows.map((row) => String(row.name));
      } finally {
        db.close();
      }
    },
  }));

  it("tell of a file that is no database, or cannot be made", async () => {
    const text = join(folder, "text.db");
    writeFileSync(text, "this is no database, but long enough to be looked at".repeat(40));
    for (const path of [text, join(text, "below", "a-file.db")]) {
      expect(() => openSqlite({ path, migrations: [] }))
        .to.throw(DevmeshError)
        .with.property("reason", "UNAVAILABLE");
    }
  });
});

describe("migrations on Postgres", () => {
  let postgres: Postgres;
  let schemas = 0;
  before(async function () {
    this.timeout(300_000);
    postgres = need(this, await startPostgres());
  });
  after(() => postgres?.stop());
  beforeEach(() => {
    schemas += 1;
  });

  const open = (migrations: string) =>
    openPostgres({
      url: postgres.url,
      schema: `notes_${schemas}`,
      migrations: loadMigrations(migrations),
    });

  conformance(() => ({
    async columns(migrations) {
      const pool = await open(migrations);
      try {
        const { rows } = await pool.query<{ name: string }>(
          "SELECT column_name AS name FROM information_schema.columns WHERE table_schema = $1 AND table_name = 'notes' ORDER BY ordinal_position",
          [`notes_${schemas}`],
        );
        return rows.map(({ name }) => name);
      } finally {
        await pool.end();
      }
    },
  }));

  it("run once when many processes start at once", async () => {
    const migrations = write({ "0001_notes.sql": first, "0002_author.sql": second });
    const pools = await Promise.all(Array.from({ length: 5 }, () => open(migrations)));
    await Promise.all(pools.map((pool) => pool.end()));
  });

  it("roll a transaction back when its work throws", async () => {
    const pool = await open(write({ "0001_notes.sql": first }));
    try {
      const work = withTransaction(pool, async (client) => {
        await client.query("INSERT INTO notes (id, body) VALUES (1, 'x')");
        throw new Error("no");
      });
      expect(await work.catch((e: unknown) => e)).to.have.property("message", "no");
      const { rows } = await pool.query("SELECT 1 FROM notes");
      expect(rows).to.have.length(0);
    } finally {
      await pool.end();
    }
  });

  it("tell of a server that is not there, without the password", async () => {
    const url = "postgres://user:hunter2@127.0.0.1:1/db";
    const error = await openPostgres({ url, schema: "x", migrations: [] }).catch((e: unknown) => e);
    expect(error).to.be.instanceOf(DevmeshError).and.include({ reason: "UNAVAILABLE" });
    expect(String(error)).to.not.include("hunter2");
  });
});
