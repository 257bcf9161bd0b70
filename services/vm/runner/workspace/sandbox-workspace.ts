/** Puts an attempt's workspace into its sandbox and takes what the work left out of it. */
import { createReadStream } from "node:fs";
import { join } from "node:path";
import type { Sandbox } from "../../drivers/driver.ts";
import type { AgentPast } from "../agent/past.ts";
import type { AttemptInput } from "../attempt-input.ts";
import { type StoredChanges, storeChanges } from "./artifacts.ts";
import { fetchBlob } from "./blob-content.ts";
import { fetchWorkDir } from "./collected-archive.ts";
import { fetchChanges, type KeptChanges, mergeArchives } from "./restore-workspace.ts";
import type { Archive } from "./workspace-changes.ts";

/** The archive that goes in is kept beside, to tell afterwards what changed. */
export async function putWorkspace(
  input: AttemptInput,
  sandbox: Sandbox,
  maxBytes: number,
  past: AgentPast,
): Promise<{ before: Archive | undefined; kept: KeptChanges | undefined }> {
  const sha256 = input.spec.workspaceSha256;
  const { stop: signal, tools, folder } = input;
  const access = { blobs: tools.backend.blobs, clock: tools.clock, signal };
  const before = sha256 === "" ? undefined : { path: join(folder, "before.tar"), maxBytes };
  if (before !== undefined) await fetchBlob(access, sha256, before.path);
  const kept = past.files && (await fetchChanges(past.files, folder, access));
  const merged = join(folder, "restored.tar");
  if (kept !== undefined) await mergeArchives(before, kept, merged, signal);
  const path = kept === undefined ? before?.path : merged;
  if (path !== undefined) await putArchive(sandbox, path, signal);
  return { before, kept };
}

async function putArchive(sandbox: Sandbox, path: string, signal: AbortSignal): Promise<void> {
  const archive = createReadStream(path);
  try {
    await sandbox.put(archive, signal);
  } finally {
    archive.destroy();
  }
}

/** Stores what the work changed. A stop that comes now changes nothing: the work has ended. */
export async function collectChanges(
  input: AttemptInput,
  sandbox: Sandbox,
  diskBytes: number,
  before: Archive | undefined,
): Promise<StoredChanges> {
  const { folder, fenced: signal, shipper } = input;
  const { clock, backend } = input.tools;
  const path = join(folder, "after.tar");
  const after = await fetchWorkDir({ sandbox, path, diskBytes, clock, signal });
  const { blobs } = backend;
  const stored = await storeChanges({ blobs, clock, before, after, folder, signal });
  if (stored.leftOut.length > 0) {
    await shipper.note({
      level: "warn",
      topic: "artifacts",
      message: `${stored.leftOut.length} changed files are not kept: too large together, or no files to keep (pipes, devices, links that lead out)`,
      payload: { paths: stored.leftOut.slice(0, 100) },
    });
  }
  return stored;
}
