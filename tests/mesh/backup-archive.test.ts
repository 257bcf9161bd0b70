/** The generic half of backups: snapshots of both dialects, the archive, and loading it again. */
import { createHash, randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { DatabaseSync } from "node:sqlite";
import {
  type BackupBlob,
  decodeRow,
  dumpParts,
  type LoadTarget,
  openPostgresSnapshot,
  openSqliteSnapshot,
  PostgresLoad,
  readArchive,
  type Snapshot,
  SqliteLoad,
  verifyArchive,
  writeArchive,
} from "@devmesh/mesh/backup";
import {
  inTransaction,
  loadMigrations,
  openPostgres,
  openSqlite,
  withTransaction,
} from "@devmesh/mesh/database";
import { expect } from "chai";
import fc from "fast-check";
import type { Pool } from "pg";
import { type Postgres, startPostgres } from "../../scripts/parts/postgres.ts";
import { need } from "../parts/need.ts";

const sqliteSql = `
CREATE TABLE shelves (id TEXT PRIMARY KEY, open INTEGER NOT NULL, made_at TEXT) STRICT, WITHOUT ROWID;
CREATE TABLE books (
  id INTEGER PRIMARY KEY AUTOINCREMENT, shelf TEXT REFERENCES shelves (id),
  pages INTEGER NOT NULL, weight REAL, cover BLOB
) STRICT;
CREATE TABLE seeds (id INTEGER PRIMARY KEY) STRICT;
INSERT INTO seeds (id) VALUES (1);`;

const postgresSql = `
CREATE TABLE shelves (id text COLLATE "C" PRIMARY KEY, open boolean NOT NULL, made_at timestamptz);
CREATE TABLE books (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, shelf text REFERENCES shelves (id),
  pages bigint NOT NULL, weight double precision, cover bytea
);
CREATE TABLE seeds (id integer PRIMARY KEY);
INSERT INTO seeds (id) VALUES (1);`;

interface Shelf {
  readonly id: string;
  readonly open: boolean;
  readonly madeAtMs: number | null;
}
interface Book {
  readonly shelf: string | null;
  readonly pages: bigint;
  readonly weight: number | null;
  readonly cover: Uint8Array | null;
}

/** A database with the tables above. */
interface Library {
  fill(shelves: readonly Shelf[], books: readonly Book[]): Promise<void>;
  snapshot(): Promise<Snapshot>;
  /** Loads the parts of an archive into emptied tables. */
  load(path: string): Promise<void>;
  /** The id of a book that is added now. */
  nextId(): Promise<number>;
}

let folder: string;
let sqlite: DatabaseSync;
let pool: Pool | undefined;
let postgres: Postgres;

before(async function () {
  this.timeout(300_000);
  folder = mkdtempSync(join(tmpdir(), "backup-"));
  for (const [name, sql] of Object.entries({ sqlite: sqliteSql, postgres: postgresSql })) {
    const target = mkdtempSync(join(folder, `${name}-`));
    writeFileSync(join(target, "0001_library.sql"), sql);
    const migrations = loadMigrations(target);
    if (name === "sqlite") sqlite = openSqlite({ path: join(folder, "a.db"), migrations });
    else {
      postgres = need(this, await startPostgres());
      pool = await openPostgres({ url: postgres.url, schema: "library", migrations });
    }
  }
});
after(async () => {
  sqlite?.close();
  await pool?.end();
  await postgres?.stop();
  rmSync(folder, { recursive: true });
});

async function loadAll(target: LoadTarget, path: string): Promise<void> {
  for (const table of [...target.tables].reverse()) await target.clear(table);
  for await (const entry of readArchive(path)) {
    if (entry.kind === "part") {
      const table = target.tables.find(({ name }) => name === entry.table);
      if (table === undefined) throw new Error(`no table ${entry.table}`);
      const lines = entry.data.toString("utf8").trimEnd().split("\n");
      await target.load(
        table,
        lines.map((line) => decodeRow(table, line)),
      );
    } else if (entry.kind === "manifest") {
      for (const { name, lastNumber } of entry.manifest.sections[0]?.tables ?? []) {
        const table = target.tables.find((one) => one.name === name);
        if (table && lastNumber !== undefined)
          await target.setLastNumber(table, BigInt(lastNumber));
      }
    }
  }
}

const onSqlite: Library = {
  async fill(shelves, books) {
    inTransaction(sqlite, () => {
      sqlite.exec("DELETE FROM books; DELETE FROM shelves");
      const shelf = sqlite.prepare("INSERT INTO shelves (id, open, made_at) VALUES (?, ?, ?)");
      for (const { id, open, madeAtMs } of shelves) {
        shelf.run(id, Number(open), madeAtMs === null ? null : new Date(madeAtMs).toISOString());
      }
      const book = sqlite.prepare(
        "INSERT INTO books (shelf, pages, weight, cover) VALUES (?, ?, ?, ?)",
      );
      for (const { shelf, pages, weight, cover } of books) book.run(shelf, pages, weight, cover);
    });
  },
  snapshot: async () => openSqliteSnapshot(join(folder, "a.db")),
  async load(path) {
    sqlite.exec("BEGIN; PRAGMA defer_foreign_keys = ON");
    await loadAll(new SqliteLoad(sqlite), path);
    sqlite.exec("COMMIT");
  },
  nextId: async () =>
    Number(sqlite.prepare("INSERT INTO books (pages) VALUES (1) RETURNING id").get()?.id),
};

const used = (): Pool => pool ?? expect.fail("there is no Postgres");
const onPostgres: Library = {
  fill: (shelves, books) =>
    withTransaction(used(), async (client) => {
      await client.query("DELETE FROM books; DELETE FROM shelves");
      for (const { id, open, madeAtMs } of shelves) {
        const madeAt = madeAtMs === null ? null : new Date(madeAtMs);
        const sql = "INSERT INTO shelves (id, open, made_at) VALUES ($1, $2, $3)";
        await client.query(sql, [id, open, madeAt]);
      }
      for (const { shelf, pages, weight, cover } of books) {
        const sql = "INSERT INTO books (shelf, pages, weight, cover) VALUES ($1, $2, $3, $4)";
        await client.query(sql, [shelf, String(pages), weight, cover && Buffer.from(cover)]);
      }
    }),
  snapshot: () => openPostgresSnapshot(used()),
  load: (path) =>
    withTransaction(used(), async (client) => loadAll(await PostgresLoad.open(client), path)),
  nextId: async () => {
    const { rows } = await used().query("INSERT INTO books (pages) VALUES (1) RETURNING id");
    return Number(rows[0]?.id);
  },
};

async function write(library: Library, name: string, blobs: readonly Buffer[] = []) {
  const snapshot = await library.snapshot();
  const path = join(folder, name);
  try {
    const archive = writeArchive({
      devmesh: "0.0.0",
      createTime: new Date(0),
      sections: [{ name: "library", parts: dumpParts(snapshot) }],
      blobs: async function* () {
        for (const blob of blobs) yield blobOf(blob);
      },
    });
    await writeFile(path, archive);
  } finally {
    await snapshot.close();
  }
  return { path, manifest: await verifyArchive(path) };
}

function blobOf(content: Buffer): BackupBlob {
  return {
    sha256: createHash("sha256").update(content).digest("hex"),
    sizeBytes: content.length,
    open: async function* () {
      for (let at = 0; at < content.length; at += 50_000) yield content.subarray(at, at + 50_000);
    },
  };
}

const text = fc.string({ unit: "binary", maxLength: 20 }).map((s) => s.replaceAll("\0", "_"));
const shelf = fc.record({
  id: text,
  open: fc.boolean(),
  madeAtMs: fc.option(fc.integer({ min: 0, max: 4e12 })),
});
const library = fc.uniqueArray(shelf, { selector: ({ id }) => id, maxLength: 8 }).chain((shelves) =>
  fc.record({
    shelves: fc.constant(shelves),
    books: fc.array(
      fc.record({
        shelf: fc.option(fc.constantFrom(...shelves.map(({ id }) => id), null)),
        pages: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
        weight: fc.option(fc.double({ noNaN: true })),
        cover: fc.option(fc.uint8Array({ maxLength: 50 })),
      }),
      { maxLength: 8 },
    ),
  }),
);

describe("a backup's archive", function () {
  this.timeout(300_000);
  const places: [string, Library, Library][] = [
    ["SQLite into SQLite", onSqlite, onSqlite],
    ["SQLite into Postgres", onSqlite, onPostgres],
    ["Postgres into SQLite", onPostgres, onSqlite],
    ["Postgres into Postgres", onPostgres, onPostgres],
  ];
  for (const [title, from, to] of places) {
    it(`carries every value: ${title}`, async () => {
      await fc.assert(
        fc.asyncProperty(library, async ({ shelves, books }) => {
          await from.fill(shelves, books);
          const first = await write(from, "first.tar.gz");
          await to.load(first.path);
          const second = await write(to, "second.tar.gz");
          const { tables } = second.manifest.sections[0] ?? expect.fail("there is no section");
          expect(tables).to.deep.equal(first.manifest.sections[0]?.tables);
          const rows = Object.fromEntries(tables.map(({ name, rows }) => [name, rows]));
          expect(rows).to.deep.equal({ shelves: shelves.length, books: books.length, seeds: 1 });
        }),
        { numRuns: 40 },
      );
    });
  }

  it("lets the numbers of keys go on where they were", async () => {
    for (const [from, to] of [
      [onSqlite, onPostgres],
      [onPostgres, onSqlite],
    ] as const) {
      const last = await from.nextId();
      await from.fill([], []);
      const { path } = await write(from, "numbers.tar.gz");
      await to.load(path);
      expect(await to.nextId()).to.equal(last + 1);
    }
  });

  it("shows one point in time, whatever is written meanwhile", async () => {
    for (const library of [onSqlite, onPostgres]) {
      const many = Array.from({ length: 1000 }, (_, i) => book(BigInt(i)));
      await library.fill([{ id: "a", open: true, madeAtMs: 0 }], many);
      const snapshot = await library.snapshot();
      const tables: string[] = [];
      let rows = 0;
      for await (const part of dumpParts(snapshot)) {
        if (tables.length === 0) await library.fill([], []);
        tables.push(part.table);
        rows += part.rows;
      }
      await snapshot.close();
      expect(tables).to.deep.equal(["seeds", "shelves", "books"]);
      expect(rows).to.equal(1002);
    }
  });

  it("is read no faster than it is taken, and lets go of the snapshot when its reader leaves", async () => {
    const many = Array.from({ length: 300 }, () => ({ ...book(1n), cover: randomBytes(65_536) }));
    await onSqlite.fill([], many);
    let taken = 0;
    let closed = false;
    const snapshot = await onSqlite.snapshot();
    const counted = async function* () {
      try {
        for await (const part of dumpParts(snapshot)) {
          taken += 1;
          yield part;
        }
      } finally {
        closed = true;
        await snapshot.close();
      }
    };
    const sections = [{ name: "library", parts: counted() }];
    for await (const piece of writeArchive({ devmesh: "", createTime: new Date(), sections })) {
      expect(piece.length).to.be.lessThanOrEqual(256 * 1024);
      break;
    }
    expect(closed).to.equal(true);
    expect(taken).to.be.lessThan(10);
  });

  it("ends in peace when its reader leaves in the midst of a blob", async () => {
    let isOpen = false;
    const content = randomBytes(8 << 20);
    const blob: BackupBlob = {
      ...blobOf(content),
      async *open() {
        isOpen = true;
        try {
          for (let at = 0; at < content.length; at += 65_536) {
            yield content.subarray(at, at + 65_536);
          }
        } finally {
          isOpen = false;
        }
      },
    };
    const archive = writeArchive({
      ...{ devmesh: "", createTime: new Date(), sections: [] },
      blobs: async function* () {
        yield blob;
      },
    });
    await archive.next();
    expect(isOpen).to.equal(true);
    await archive.return();
    expect(isOpen).to.equal(false);
  });

  it("carries blobs, and says so when one is damaged", async () => {
    const blobs = [Buffer.alloc(0), Buffer.from("a"), randomBytes(700_001)];
    const { manifest, path } = await write(onSqlite, "blobs.tar.gz", blobs);
    const bytes = blobs.reduce((sum, blob) => sum + blob.length, 0);
    expect(manifest.blobs).to.include({ count: 3, bytes });
    const found: Buffer[] = [];
    for await (const entry of readArchive(path)) {
      if (entry.kind !== "blob") continue;
      const pieces: Uint8Array[] = [];
      for await (const piece of entry.content) pieces.push(piece);
      found.push(Buffer.concat(pieces));
    }
    expect(found.map((blob) => blob.equals(blobs[found.indexOf(blob)] ?? blob))).to.not.include(
      false,
    );
    const damaged = { ...blobOf(Buffer.from("a")), sha256: "0".repeat(64) };
    const broken = writeArchive({
      devmesh: "",
      createTime: new Date(),
      sections: [],
      blobs: async function* () {
        yield damaged;
      },
    });
    const error = await writeFile(join(folder, "x"), broken).catch((e: unknown) => e);
    expect(String(error)).to.include("is damaged");
  });
});

function book(pages: bigint): Book {
  return { shelf: null, pages, weight: null, cover: null };
}
