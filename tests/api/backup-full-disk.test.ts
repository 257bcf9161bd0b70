/** Disks that are full: a backup leaves no half file, a restore leaves nothing at all. */
import { execFileSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BackupService } from "@devmesh/gen/devmesh/api/v1/backup_service_pb";
import { BlobService } from "@devmesh/gen/devmesh/api/v1/blob_service_pb";
import { verifyArchive } from "@devmesh/mesh/backup";
import { expect } from "chai";
import { downloadBackup } from "../../sdk/ts/src/node.ts";
import { prepareApi } from "../../services/api/backup/restore.ts";
import { restorePlatform } from "../../services/up/restore.ts";
import { backUp, newPlace, openBed } from "./backup-bed.ts";
import type { Bed } from "./bed.ts";

describe("a full disk", function () {
  this.timeout(120_000);
  let folder: string;
  let small: string;
  let file: string;
  let bed: Bed;

  before(async function () {
    folder = mkdtempSync(join(tmpdir(), "full-"));
    small = join(folder, "small");
    mkdirSync(small);
    try {
      execFileSync("mount", ["-t", "tmpfs", "-o", "size=1m", "tmpfs", small], { stdio: "ignore" });
    } catch {
      rmSync(folder, { recursive: true });
      console.log(
        "    skipped: no small disk can be mounted; run as root where mounts are allowed",
      );
      return this.skip();
    }
    file = join(folder, "backup.tar.gz");
    bed = await openBed(await newPlace(folder));
    const data = randomBytes(3 * 1024 * 1024);
    const sha256 = createHash("sha256").update(data).digest("hex");
    await bed.client(BlobService).putBlob(
      (async function* () {
        yield { sha256 };
        for (let at = 0; at < data.length; at += 65_536) {
          yield { data: data.subarray(at, at + 65_536) };
        }
      })(),
    );
    await backUp(bed, file);
  });
  after(async () => {
    if (bed === undefined) return;
    await bed.close();
    execFileSync("umount", [small]);
    rmSync(folder, { recursive: true });
  });

  it("leaves no half of a backup", async () => {
    const backups = {
      async *create() {
        for await (const { data } of bed.client(BackupService).createBackup({})) yield data;
      },
    };
    const target = join(small, "backup.tar.gz");
    const error = await downloadBackup({ backups }, target).catch((e: unknown) => e);
    expect(error).to.have.property("code", "ENOSPC");
    expect(readdirSync(small)).to.deep.equal([]);
  });

  it("is seen before a restore begins", async () => {
    const dataDir = join(small, "data");
    const env = { DEVMESH_DATA_DIR: dataDir, HOME: folder };
    const error = await restorePlatform({ file, env }).catch((e: unknown) => e);
    expect(error).to.have.property("reason", "TOO_LARGE");
    expect(readdirSync(small)).to.deep.equal([]);
  });

  it("in the middle of a restore leaves the target empty", async () => {
    const manifest = await verifyArchive(file);
    const place = { storageUrl: "sqlite:api.sqlite", dataDir: small };
    const restoring = prepareApi({ ...place, path: file, manifest, nowMs: Date.now() });
    const error = await restoring.catch((e: unknown) => e);
    expect(error).to.be.instanceOf(Error);
    expect(readdirSync(small)).to.deep.equal([]);
  });
});
