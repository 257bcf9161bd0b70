/**
 * Stores what a job leaves: the patch, the changed files as a tar, the names of
 * the deleted ones, and single small files.
 */
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import type { Client } from "@connectrpc/connect";
import type { BlobService } from "@devmesh/gen/devmesh/api/v1/blob_service_pb";
import { type Artifact, ArtifactSchema } from "@devmesh/gen/devmesh/api/v1/job_result_pb";
import type { Clock } from "@devmesh/mesh/runtime";
import { padding, type TarEntry } from "../../drivers/tar-format.ts";
import { type Content, contentOf, storeBlob } from "./blob-content.ts";
import { makeGitPatch } from "./git-patch.ts";
import { TarFile } from "./tar-file.ts";
import {
  type Archive,
  archiveEntries,
  compareArchives,
  type FileChange,
} from "./workspace-changes.ts";

/** Files listed one by one, besides the tar with all of them. */
const maxSingles = { files: 50, bytes: 4 * 1024 * 1024, nameBytes: 4096 };

/**
 * Names of artifacts that are not files of the job. `deleted` holds the paths
 * that the job removed, each ended by a NUL: the tar cannot tell them, and the
 * patch leaves large files out.
 */
const names = { patch: "changes.patch", tar: "changes.tar", deleted: "changes.deleted" };

/** What was found and stored. */
export interface StoredChanges {
  readonly changes: readonly FileChange[];
  readonly artifacts: readonly Artifact[];
  readonly patch: string;
  /** Paths that were not kept: too large together, or nothing that an archive may hold. */
  readonly leftOut: readonly string[];
}

/** Nothing was left. */
export const nothingStored: StoredChanges = { changes: [], artifacts: [], patch: "", leftOut: [] };

/** Where the two archives are and where blobs go. */
export interface StoreChangesInput {
  readonly blobs: Client<typeof BlobService>;
  readonly clock: Clock;
  readonly before: Archive | undefined;
  readonly after: Archive;
  /** Where the tar of the changes is made. */
  readonly folder: string;
  /** Aborts when nobody wants the artifacts any more. */
  readonly signal: AbortSignal;
}

/** Compares, uploads, and answers what the job leaves. */
export async function storeChanges(input: StoreChangesInput): Promise<StoredChanges> {
  const { before, after, folder, signal } = input;
  const { changes, unsafe } = await compareArchives(before, after, signal);
  if (changes.length === 0) return { ...nothingStored, leftOut: unsafe };
  const artifacts: Artifact[] = [];
  const keep = async (name: string, mediaType: string, content: Content) => {
    const { sha256, sizeBytes } = await storeBlob(input, content);
    artifacts.push(
      create(ArtifactSchema, { name, sha256, sizeBytes: BigInt(sizeBytes), mediaType }),
    );
  };
  const patch = await makeGitPatch(changes, before, after, signal);
  if (patch !== "") await keep(names.patch, "text/x-diff", contentOf(Buffer.from(patch)));

  // What stands in a path's place but cannot be kept has not deleted it.
  const refused = new Set(unsafe);
  const deleted = changes.filter(({ path, after: now }) => now === undefined && !refused.has(path));
  if (deleted.length > 0) {
    const list = deleted.map(({ path }) => `${path}\0`).join("");
    await keep(names.deleted, "application/octet-stream", contentOf(Buffer.from(list)));
  }
  const wanted = new Set(changes.filter((c) => c.after !== undefined).map((c) => c.path));
  const leftOut = [...unsafe];
  await using tar = await TarFile.create(join(folder, names.tar));
  for await (const { entry, content } of archiveEntries(after, signal, () => {})) {
    const isWanted = wanted.has(entry.path);
    const fits = isWanted && tar.takes(entry);
    if (isWanted && !fits) leftOut.push(entry.path);
    const single = fits && isSingle(entry) && artifacts.length < maxSingles.files;
    const chunks: Buffer[] = [];
    if (fits) await tar.begin(entry);
    for await (const chunk of content) {
      if (fits) await tar.write(chunk);
      if (single) chunks.push(Buffer.from(chunk));
    }
    if (fits) await tar.write(padding(entry.size));
    const media = "application/octet-stream";
    if (single) await keep(entry.path, media, contentOf(Buffer.concat(chunks)));
  }
  if (!tar.isEmpty) await keep(names.tar, "application/x-tar", await tar.end());
  return { changes, artifacts, patch, leftOut };
}

function isSingle({ type, path, size }: TarEntry): boolean {
  return (
    type === "file" &&
    size <= maxSingles.bytes &&
    Buffer.byteLength(path) <= maxSingles.nameBytes &&
    !Object.values(names).includes(path)
  );
}
