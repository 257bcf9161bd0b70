/**
 * Tells which files changed, after each call that may have changed some, so that
 * the work can go on elsewhere. What is kept of it, and where, is the runner's.
 */
import { constants, type Stats } from "node:fs";
import { type FileHandle, lstat, open, readlink } from "node:fs/promises";
import type { CheckpointFile, Records } from "./records.ts";
import type { Jail } from "./tools/jail.ts";
import { walkTree } from "./tools/tree.ts";

/** Beyond these nothing is told any more: other ways are better for so much. */
const bounds = { entries: 50_000, fileBytes: 32 * 1024 * 1024, totalBytes: 128 * 1024 * 1024 };

/** The largest part of a file in one record; base64 makes it a third longer. */
const pieceBytes = 384 * 1024;

/** A file as it was seen last. */
interface Seen {
  readonly stamp: string;
  readonly bytes: number;
}

/** What changed between two looks. */
export interface Change {
  readonly changed: readonly string[];
  readonly deleted: readonly string[];
  /** Why it cannot be told. Empty: it can. */
  readonly refusal: string;
}

/** Watches the work dir of one job. */
export class Checkpoints {
  readonly #jail: Jail;
  readonly #records: Records;
  #seen: ReadonlyMap<string, Seen> | undefined;

  private constructor(jail: Jail, records: Records) {
    this.#jail = jail;
    this.#records = records;
  }

  /** Looks at the work dir as it is at the start. */
  static async open(jail: Jail, records: Records, signal: AbortSignal): Promise<Checkpoints> {
    const checkpoints = new Checkpoints(jail, records);
    checkpoints.#seen = await checkpoints.#look(signal);
    if (checkpoints.#seen === undefined) checkpoints.#end(`more than ${bounds.entries} entries`);
    return checkpoints;
  }

  /** Compares with the last look; undefined if nothing changed. */
  async look(signal: AbortSignal): Promise<Change | undefined> {
    const before = this.#seen;
    // Unknown counts as changed: what was done must not be taken for nothing.
    if (before === undefined) return { changed: [], deleted: [], refusal: "" };
    const now = await this.#look(signal);
    this.#seen = now;
    if (now === undefined) {
      return { changed: [], deleted: [], refusal: `more than ${bounds.entries} entries` };
    }
    const fresh = [...now].filter(([path, { stamp }]) => before.get(path)?.stamp !== stamp);
    const deleted = [...before.keys()].filter((path) => !now.has(path));
    if (fresh.length === 0 && deleted.length === 0) return undefined;
    const bytes = fresh.reduce((sum, [, { bytes }]) => sum + bytes, 0);
    const large = fresh.find(([, { bytes }]) => bytes > bounds.fileBytes);
    const isTooMuch = bytes > bounds.totalBytes ? "the changes are too large together" : "";
    const refusal = large === undefined ? isTooMuch : `${large[0]} is too large`;
    return { changed: fresh.map(([path]) => path), deleted, refusal };
  }

  /** Tells what changed with the call that it follows. */
  async tell(step: number, call: string, change: Change): Promise<void> {
    const { changed, deleted, refusal } = change;
    if (refusal !== "") this.#end(refusal);
    else if (this.#seen !== undefined) await this.#tell(step, call, changed, deleted);
  }

  async #tell(
    step: number,
    call: string,
    changed: readonly string[],
    deleted: readonly string[],
  ): Promise<void> {
    const gone = [...deleted];
    let files: CheckpointFile[] = [];
    let bytes = 0;
    const flush = (last: boolean) => {
      // Names, too, must fit into a record.
      const some = gone.splice(0, 1000);
      this.#records.checkpoint({
        step,
        call,
        files,
        deleted: some,
        last: last && gone.length === 0,
      });
      files = [];
      bytes = 0;
    };
    for (const path of changed) {
      for await (const file of piecesOf(this.#jail, path)) {
        if (bytes > 0 && bytes + file.data.length > pieceBytes * 1.4) flush(false);
        files.push(file);
        bytes += file.data.length + path.length + 200;
      }
    }
    flush(true);
    while (gone.length > 0) flush(true);
  }

  /** All files and links; undefined if there are too many. */
  async #look(signal: AbortSignal): Promise<ReadonlyMap<string, Seen> | undefined> {
    const seen = new Map<string, Seen>();
    const root = await this.#jail.resolve(".");
    for await (const { path, file, kind } of walkTree(root, signal, { skipped: [".git"] })) {
      if (seen.size > bounds.entries) return undefined;
      if (kind !== "file" && kind !== "link") continue;
      const info = await statOf(file);
      if (info === undefined) continue;
      const { mode, size, mtimeMs, ctimeMs, ino } = info;
      seen.set(path, { stamp: `${mode} ${size} ${mtimeMs} ${ctimeMs} ${ino}`, bytes: size });
    }
    return seen;
  }

  #end(reason: string): void {
    this.#seen = undefined;
    this.#records.checkpointsEnd(reason);
  }
}

/** A file in pieces, or a link; nothing where it is gone by now. */
async function* piecesOf(jail: Jail, path: string): AsyncGenerator<CheckpointFile> {
  const at = `${jail.root}/${path}`;
  const info = await statOf(at);
  if (info === undefined) return;
  const mode = info.mode & 0o777;
  if (info.isSymbolicLink()) {
    yield { path, mode: 0o777, target: await readlink(at), data: "", more: false };
    return;
  }
  let file: FileHandle;
  try {
    file = await open(at, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch {
    // Gone, or not ours to read.
    return;
  }
  try {
    const piece = Buffer.alloc(Math.min(pieceBytes, Math.max(1, info.size)));
    let more = false;
    for (;;) {
      const { bytesRead } = await file.read(piece, 0, piece.length);
      if (bytesRead === 0 && more) return;
      const data = piece.toString("base64", 0, bytesRead);
      yield { path, mode, target: "", data, more };
      if (bytesRead < piece.length) return;
      more = true;
    }
  } finally {
    await file.close();
  }
}

async function statOf(path: string): Promise<Stats | undefined> {
  try {
    return await lstat(path);
  } catch {
    // Removed meanwhile.
    return undefined;
  }
}
