/** Backups of the running backend: its tables at one point in time, then its blobs. */
import {
  type BackupBlob,
  type BackupSection,
  dumpParts,
  type Snapshot,
  writeArchive,
} from "@devmesh/mesh/backup";
import type { Clock } from "@devmesh/mesh/runtime";
import type { BlobStore } from "../blobs/blob-store.ts";
import { runtimeTables } from "./backup-tables.ts";

/** What backups are made of. */
export interface BackupsOptions {
  /** Opens the tables at one point in time. */
  readonly snapshot: () => Promise<Snapshot>;
  readonly blobs: BlobStore;
  readonly clock: Clock;
  /** This devmesh. */
  readonly version: string;
}

/** The databases of other services, which no contract opens to this one. */
const notCovered = [
  "mcp: ingested documents and their index; ingest them again, or copy the service's database",
  "inference: the ledger of model calls; copy the service's database",
];

/** Makes backups. */
export class Backups {
  readonly #options: BackupsOptions;

  constructor(options: BackupsOptions) {
    this.#options = options;
  }

  /**
   * A backup in pieces of at most 256 KiB. It is read as fast as the pieces
   * are taken, beside other calls. Throws UNIMPLEMENTED for stores in memory.
   */
  async *create(): AsyncGenerator<Uint8Array, void, undefined> {
    const { snapshot: open, blobs, clock, version } = this.#options;
    const snapshot = await open();
    try {
      const sections: BackupSection[] = [
        { name: "api", parts: dumpParts(snapshot, runtimeTables) },
      ];
      yield* writeArchive({
        devmesh: version,
        createTime: new Date(clock.now()),
        sections,
        // After the tables: whatever they name was stored before them.
        blobs: () => allOf(blobs),
        notCovered: () => notCovered,
      });
    } finally {
      await snapshot.close();
    }
  }
}

/** Every blob, also those that no job names yet: each was acknowledged. */
async function* allOf(blobs: BlobStore): AsyncGenerator<BackupBlob, void, undefined> {
  for await (const sha256 of blobs.list()) {
    const sizeBytes = await blobs.stat(sha256);
    // One that was removed meanwhile is named by nothing.
    if (sizeBytes !== undefined) yield { sha256, sizeBytes, open: () => blobs.get(sha256) };
  }
}
