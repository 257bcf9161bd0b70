/** Temporary folders that do not outlive their owner. */
import { rmSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onExit } from "./sweep.ts";

/** A folder of our own, readable by this user only. */
export interface TempDir {
  path: string;
  /** Removes it with all it holds. When this process exits that happens by itself. */
  remove(): Promise<void>;
}

/** Makes an empty folder in the system's temporary folder; `kind` is a part of its name. */
export async function tempDir(kind: string): Promise<TempDir> {
  const path = await mkdtemp(join(tmpdir(), `devmesh-${kind}-`));
  const forget = onExit(() => rmSync(path, { recursive: true, force: true }));
  const remove = async () => {
    forget();
    await rm(path, { recursive: true, force: true });
  };
  return { path, remove };
}
