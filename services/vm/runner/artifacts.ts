/** Stores what a job leaves: the patch, the changed files as a tar, and single small files. */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { create } from "@bufbuild/protobuf";
import type { Client } from "@connectrpc/connect";
import type { BlobService } from "@devmesh/gen/devmesh/api/v1/blob_service_pb";
import { type Artifact, ArtifactSchema } from "@devmesh/gen/devmesh/api/v1/job_pb";
import { padding, tarEnd, tarHeader } from "../drivers/tar-format.ts";
import { guardedEntries } from "../drivers/tar-guard.ts";
import { compareArchives, type FileChange, makePatch } from "./workspace-changes.ts";

/** The largest piece of a blob upload. */
const pieceBytes = 256 * 1024;

/** Files listed one by one, besides the tar with all of them. */
const maxSingleFiles = 50;
const maxSingleBytes = 4 * 1024 * 1024;

/** The changed files together; more are left out of the tar and only named. */
const maxTarBytes = 256 * 1024 * 1024;

/** What was found and stored. */
export interface StoredChanges {
  readonly changes: readonly FileChange[];
  readonly artifacts: readonly Artifact[];
  readonly patch: string;
  /** Paths that were too large to keep. */
  readonly leftOut: readonly string[];
}

/** Where the two archives are and where blobs go. */
export interface StoreChangesInput {
  readonly blobs: Client<typeof BlobService>;
  readonly before: { readonly path: string; readonly maxBytes: number } | undefined;
  readonly after: { readonly path: string; readonly maxBytes: number };
  readonly signal: AbortSignal;
}

/** Compares, uploads, and answers what the job leaves. */
export async function storeChanges(input: StoreChangesInput): Promise<StoredChanges> {
  const { blobs, before, after, signal } = input;
  const changes = await compareArchives(before, after, signal);
  if (changes.length === 0) return { changes, artifacts: [], patch: "", leftOut: [] };
  const patch = await makePatch(changes, before, after, signal);
  const artifacts: Artifact[] = [];
  const put = async (name: string, mediaType: string, content: Buffer) => {
    artifacts.push(await putBlob(blobs, name, mediaType, content, signal));
  };
  if (patch !== "") await put("changes.patch", "text/x-diff", Buffer.from(patch));

  const wanted = new Map(changes.filter((c) => c.kind !== "removed").map((c) => [c.path, c]));
  const tar: Buffer[] = [];
  const leftOut: string[] = [];
  let tarBytes = 0;
  let singles = 0;
  const archive = guardedEntries(createReadStream(after.path), after, signal);
  for await (const { entry, content } of archive) {
    const keep = wanted.has(entry.path) && tarBytes + entry.size <= maxTarBytes;
    if (wanted.has(entry.path) && !keep) leftOut.push(entry.path);
    const chunks: Buffer[] = [];
    for await (const chunk of content) if (keep) chunks.push(Buffer.from(chunk));
    if (!keep) continue;
    const bytes = Buffer.concat(chunks);
    tar.push(tarHeader(entry), bytes, padding(entry.size));
    tarBytes += entry.size;
    if (entry.type === "file" && singles < maxSingleFiles && bytes.length <= maxSingleBytes) {
      singles += 1;
      await put(entry.path, "application/octet-stream", bytes);
    }
  }
  if (tar.length > 0)
    await put("changes.tar", "application/x-tar", Buffer.concat([...tar, tarEnd()]));
  return { changes, artifacts, patch, leftOut };
}

async function putBlob(
  blobs: Client<typeof BlobService>,
  name: string,
  mediaType: string,
  content: Buffer,
  signal: AbortSignal,
): Promise<Artifact> {
  const sha256 = createHash("sha256").update(content).digest("hex");
  const { exists } = await blobs.statBlob({ sha256 }, { signal });
  if (!exists) await blobs.putBlob(pieces(sha256, content), { signal });
  const sizeBytes = BigInt(content.length);
  return create(ArtifactSchema, { name, sha256, sizeBytes, mediaType });
}

async function* pieces(sha256: string, content: Buffer) {
  yield { sha256, data: content.subarray(0, pieceBytes) };
  for (let at = pieceBytes; at < content.length; at += pieceBytes) {
    yield { data: content.subarray(at, at + pieceBytes) };
  }
}
