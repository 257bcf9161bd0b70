/** Files that are no whole backup: each is refused with its reason, and the target stays as it was. */
import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";
import type { Manifest } from "@devmesh/mesh/backup";
import { readArchive } from "@devmesh/mesh/backup";
import { DevmeshError, toDevmeshError } from "@devmesh/mesh/errors";
import { expect } from "chai";
import { extract, type Header, pack } from "tar-stream";
import { BlobService } from "../../gen/devmesh/api/v1/blob_service_pb.js";
import { BackupError, verifyBackup } from "../../sdk/ts/src/node.ts";
import { restorePlatform } from "../../services/up/restore.ts";
import { backUp, newPlace, openBed, TestRunner } from "./backup-bed.ts";

/** An entry of a tar in memory. */
interface Entry {
  readonly header: Partial<Header> & { readonly name: string };
  readonly data: Buffer;
}

/** Changes a whole backup into a damaged one. */
type Damage = (entries: Entry[]) => Entry[];

describe("a damaged backup", function () {
  this.timeout(120_000);
  let folder: string;
  let whole: Buffer;
  let file: string;

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "damage-"));
    file = join(folder, "backup.tar.gz");
    const bed = await openBed(await newPlace(folder));
    await TestRunner.register(bed, "run_1");
    const data = Buffer.from("a blob");
    const sha256 = createHash("sha256").update(data).digest("hex");
    await bed.client(BlobService).putBlob(
      (async function* () {
        yield { sha256, data };
      })(),
    );
    await backUp(bed, file);
    await bed.close();
    whole = readFileSync(file);
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  /** Restores bytes into an empty place; answers the refusal, once the place is seen to be as it was. */
  async function refusal(bytes: Uint8Array): Promise<DevmeshError> {
    writeFileSync(file, bytes);
    const dataDir = join(folder, "target");
    const env = { DEVMESH_DATA_DIR: dataDir, HOME: folder };
    try {
      await restorePlatform({ file, env });
    } catch (error) {
      expect(existsSync(dataDir), "something was left").to.equal(false);
      return toDevmeshError(error);
    }
    return expect.fail("it was taken");
  }

  const rows: [string, (whole: Buffer) => Buffer, RegExp][] = [
    ["cut off", (b) => b.subarray(0, b.length - 20), /damaged or cut off/],
    ["cut in half", (b) => b.subarray(0, b.length / 2), /damaged or cut off/],
    ["empty", () => Buffer.alloc(0), /cut off/],
    ["no archive at all", () => Buffer.from("hello"), /damaged or cut off/],
    ["no tar", () => gzipSync(Buffer.alloc(2048, "x")), /damaged or cut off/],
  ];
  for (const [title, damage, message] of rows) {
    it(`is refused: ${title}`, async () => {
      const error = await refusal(damage(whole));
      expect(error).to.include({ reason: "INVALID_FIELD" });
      expect(error.message).to.match(message);
    });
  }

  it("is refused whichever byte of it is another", async () => {
    for (let at = 20; at < whole.length; at += Math.ceil(whole.length / 40)) {
      const bytes = Buffer.from(whole);
      bytes.writeUInt8((bytes[at] ?? 0) ^ 0xff, at);
      expect(await refusal(bytes), `byte ${at}`).to.include({ reason: "INVALID_FIELD" });
      await expectClientRefuses();
    }
  });

  const isTable = (name: string) => (entry: Entry) =>
    entry.header.name.startsWith(`tables/api/${name}/`);
  const text = (name: string, content: string): Entry => ({
    header: { name },
    data: Buffer.from(content),
  });
  const named =
    (from: RegExp, name: string): Damage =>
    (entries) =>
      entries.map((entry) =>
        from.test(entry.header.name) ? { ...entry, header: { ...entry.header, name } } : entry,
      );

  const damages: [string, Damage, RegExp][] = [
    [
      "a table is missing",
      (all) => all.filter((e) => !isTable("tokens")(e)),
      /table api\/tokens is missing/,
    ],
    [
      "a blob is missing",
      (all) => all.filter((e) => !/^blobs/.test(e.header.name)),
      /0 blobs, its manifest names 1/,
    ],
    ["the manifest is missing", (all) => all.slice(0, -1), /has no manifest/],
    [
      "there is one file more",
      (all) => [text("readme.txt", "hi"), ...all],
      /"readme.txt" is not one of a backup/,
    ],
    [
      "there is a file after the manifest",
      (all) => [...all, text("tables/api/x/000001.jsonl", "{}\n")],
      /after the manifest/,
    ],
    [
      "there is a table that the manifest does not name",
      (all) => [text("tables/api/x/000001.jsonl", "{}\n"), ...all],
      /api\/x that its manifest does not name/,
    ],
    ["a name leads out", named(/^blobs/, "blobs/../../../../tmp/evil"), /not one of a backup/],
    ["a name is absolute", named(/^blobs/, "/etc/passwd"), /not one of a backup/],
    [
      "there is a link",
      (all) => [
        {
          header: { name: "blobs/x", type: "symlink", linkname: "/etc/passwd" },
          data: Buffer.alloc(0),
        },
        ...all,
      ],
      /is no file/,
    ],
    [
      "a blob has another content",
      (all) =>
        all.map((e) => (/^blobs/.test(e.header.name) ? { ...e, data: Buffer.from("A BLOB") } : e)),
      /blob [0-9a-f]{64} is damaged/,
    ],
    [
      "a part comes twice",
      (all) => all.flatMap((e) => (isTable("tokens")(e) ? [e, e] : [e])),
      /lacks part 2/,
    ],
    [
      "a row is another",
      (all) =>
        all.map((e) =>
          isTable("tokens")(e)
            ? { ...e, data: Buffer.from(e.data.toString().replace("owner", "OWNER")) }
            : e,
        ),
      /tokens is not what the manifest says/,
    ],
    [
      "the manifest is of a later format",
      (all) => all.map((e) => manifestOf(e, (m) => ({ ...m, format: 2 }))),
      /has format 2/,
    ],
    [
      "the manifest is not whole",
      (all) => all.map((e) => manifestOf(e, (m) => ({ ...m, blobs: undefined }))),
      /manifest is not whole/,
    ],
  ];
  for (const [title, damage, message] of damages) {
    it(`is refused: ${title}`, async () => {
      const error = await refusal(await rewritten(whole, damage));
      expect(error).to.include({ reason: "INVALID_FIELD" });
      expect(error.message).to.match(message);
    });
  }

  const inTable =
    (name: string, change: (lines: string) => string): Damage =>
    (all) => {
      const changed = all.map((e) =>
        isTable(name)(e) ? { ...e, data: Buffer.from(change(e.data.toString())) } : e,
      );
      const data = changed.find(isTable(name))?.data ?? Buffer.alloc(0);
      const sha256 = createHash("sha256").update(data).digest("hex");
      const count = data.toString().split("\n").length - 1;
      return changed.map((e) =>
        manifestOf(e, (m) => ({
          ...m,
          sections: m.sections.map((section) => ({
            ...section,
            tables: section.tables.map((table) =>
              table.name === name ? { ...table, sha256, rows: count } : table,
            ),
          })),
        })),
      );
    };

  const forged: [string, Damage, RegExp][] = [
    [
      "a column that no schema has",
      inTable("tokens", (t) => t.replace('"owner":', '"evil":')),
      /no column "evil"/,
    ],
    [
      "a value of another type",
      inTable("tokens", (t) => t.replace(/"created_at":"[^"]*"/, '"created_at":7')),
      /tokens\.created_at: a value does not fit/,
    ],
    ["a row twice", inTable("tokens", (t) => t + t), /rows of api\/tokens do not fit/],
    ["no JSON", inTable("tokens", () => "{oops\n"), /no JSON/],
  ];
  for (const [title, damage, message] of forged) {
    it(`is refused though its hashes are right: ${title}`, async () => {
      const error = await refusal(await rewritten(whole, damage));
      expect(error).to.include({ reason: "INVALID_FIELD" });
      expect(error.message).to.match(message);
    });
  }

  it("is refused when it is of a newer schema", async () => {
    const newer: Damage = (all) =>
      all.map((e) =>
        manifestOf(e, (m) => ({
          ...m,
          sections: m.sections.map((section) => ({ ...section, schemaVersion: 99 })),
        })),
      );
    expect(await refusal(await rewritten(whole, newer))).to.include({ reason: "STORE_TOO_NEW" });
  });

  it("is read no further than there is room for what it unpacks to", async () => {
    const bomb = Buffer.alloc(32 * 1024 * 1024);
    const sha256 = createHash("sha256").update(bomb).digest("hex");
    const bytes = await rewritten(whole, (all) => [
      { header: { name: `blobs/${sha256}` }, data: bomb },
      ...all,
    ]);
    expect(bytes.length).to.be.lessThan(1024 * 1024);
    await writeFile(file, bytes);
    const entries = readArchive(file, { maxBytes: 16 * 1024 * 1024 });
    const error = await entries.next().catch((e: unknown) => e);
    expect(error).to.be.instanceOf(DevmeshError).and.include({ reason: "TOO_LARGE" });
  });

  it("is refused when one part is too large to be one", async () => {
    const data = Buffer.alloc(65 * 1024 * 1024, "\n");
    const bytes = await rewritten(whole, (all) => [
      { header: { name: "tables/api/jobs/000001.jsonl" }, data },
      ...all,
    ]);
    expect((await refusal(bytes)).message).to.match(/too large/);
  });

  it("is refused when it is not there", async () => {
    const missing = join(folder, "none.tar.gz");
    const env = { DEVMESH_DATA_DIR: join(folder, "target"), HOME: folder };
    const error = await restorePlatform({ file: missing, env }).catch((e: unknown) => e);
    expect(error).to.include({ reason: "INVALID_FIELD" });
  });

  /** The client's own check of the file that was refused. */
  async function expectClientRefuses(): Promise<void> {
    const error = await verifyBackup(file).catch((e: unknown) => e);
    expect(error).to.be.instanceOf(BackupError);
  }
});

function manifestOf(entry: Entry, change: (manifest: Manifest) => object): Entry {
  if (entry.header.name !== "manifest.json") return entry;
  const manifest = JSON.parse(entry.data.toString()) as Manifest;
  return { ...entry, data: Buffer.from(JSON.stringify(change(manifest))) };
}

/** The archive with other entries, correctly packed. */
async function rewritten(archive: Buffer, damage: Damage): Promise<Buffer> {
  const entries: Entry[] = [];
  const reader = extract();
  reader.end(gunzipSync(archive));
  for await (const entry of reader) {
    const pieces: Uint8Array[] = [];
    for await (const piece of entry as AsyncIterable<Uint8Array>) pieces.push(piece);
    entries.push({ header: entry.header, data: Buffer.concat(pieces) });
  }
  const writer = pack();
  for (const { header, data } of damage(entries)) {
    const { name, type = "file", linkname } = header;
    writer.entry({ name, type, ...(linkname && { linkname }) }, data);
  }
  writer.finalize();
  const pieces: Uint8Array[] = [];
  for await (const piece of writer as AsyncIterable<Uint8Array>) pieces.push(piece);
  return gzipSync(Buffer.concat(pieces));
}
