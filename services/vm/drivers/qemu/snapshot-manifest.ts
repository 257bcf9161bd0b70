/**
 * Owns the note in each snapshot of what it was made from and what is in it, and whether that
 * note is still the one that was written. The parts themselves are left to `snapshot-store.ts`.
 */
import { createHash } from "node:crypto";
import { readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { GuestFacts } from "../guest/guest-facts.ts";
import type { PackIndex } from "./image-pack.ts";
import type { SnapshotShape } from "./snapshot-shape.ts";

/** The note's name in a snapshot's folder. */
export const manifestFile = "manifest.json";

/** What is in a snapshot. */
export interface SnapshotManifest {
  readonly shape: SnapshotShape;
  readonly facts: GuestFacts;
  readonly memory: PackIndex;
  readonly state: PackIndex;
  readonly scratch: PackIndex;
}

/** The manifest in `folder`. Throws when it is not there, not ours, changed, or of another shape. */
export async function readManifest(
  folder: string,
  shape: SnapshotShape,
): Promise<SnapshotManifest> {
  const path = join(folder, manifestFile);
  const { uid, mode } = await stat(folder);
  if (uid !== (process.getuid?.() ?? uid) || (mode & 0o077) !== 0) throw new Error("not ours");
  const [digest = "", body = ""] = (await readFile(path, "utf8")).split("\n");
  if (digestOf(body) !== digest) throw new Error("the manifest was changed");
  const manifest: SnapshotManifest = JSON.parse(body);
  if (JSON.stringify(manifest.shape) !== JSON.stringify(shape)) throw new Error("another shape");
  return manifest;
}

/** Writes the manifest of a snapshot whose parts are there. */
export async function writeManifest(folder: string, manifest: SnapshotManifest): Promise<void> {
  const body = JSON.stringify(manifest);
  await writeFile(join(folder, manifestFile), `${digestOf(body)}\n${body}`, { mode: 0o600 });
}

function digestOf(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
