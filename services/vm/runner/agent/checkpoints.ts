/**
 * Keeps an agent's changed files in the blob store while it works, so that
 * another runner can go on: one blob for the changed files, one for the names of
 * the deleted ones, and a note with both. While one is stored newer ones gather.
 */
import { appendFile, mkdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { toDevmeshError } from "@devmesh/mesh/errors";
import { padding } from "../../drivers/tar-format.ts";
import type { Note } from "../job-notes.ts";
import { type BlobAccess, contentOf, storeBlob } from "../workspace/blob-content.ts";
import { TarFile } from "../workspace/tar-file.ts";

/** Files of one checkpoint together; beyond that none is kept any more. */
const maxBytes = 200 * 1024 * 1024;
const maxFiles = 60_000;

/** A changed file in a piece of a checkpoint. */
export interface ChangedFile {
  readonly path: string;
  readonly mode: number;
  /** The target of a link. Empty: it is a file. */
  readonly target: string;
  readonly data: Buffer;
  /** True: `data` goes behind what came before of this file. */
  readonly more: boolean;
}

/** A piece of what changed after a call. */
export interface CheckpointPiece {
  readonly step: number;
  readonly call: string;
  readonly files: readonly ChangedFile[];
  readonly deleted: readonly string[];
  /** True: with it the checkpoint is whole. */
  readonly last: boolean;
}

/** What checkpoints need. */
export interface AgentCheckpointsOptions extends BlobAccess {
  /** A folder of the attempt. */
  readonly folder: string;
  readonly note: (note: Note) => Promise<void>;
}

interface KeptFile {
  readonly mode: number;
  readonly target: string;
  /** Where its content lies; empty for links. */
  readonly file: string;
}

/** The files of one attempt that differ from its start. */
export class AgentCheckpoints {
  readonly #options: AgentCheckpointsOptions;
  readonly #folder: string;
  readonly #files = new Map<string, KeptFile>();
  readonly #deleted = new Set<string>();
  /** Content that comes in pieces, until its checkpoint is whole. */
  readonly #incoming = new Map<string, KeptFile>();
  #incomingDeleted: string[] = [];
  #count = 0;
  #bytes = 0;
  #isOff = false;
  #newest: { readonly step: number; readonly call: string } | undefined;
  #storing: Promise<void> | undefined;

  constructor(options: AgentCheckpointsOptions) {
    this.#options = options;
    this.#folder = join(options.folder, "checkpoint");
  }

  /** Takes over what an earlier attempt has kept. */
  async restore(files: AsyncIterable<ChangedFile>, deleted: readonly string[]): Promise<void> {
    for await (const file of files) await this.#keep(file);
    for (const [path, file] of this.#incoming) this.#files.set(path, file);
    this.#incoming.clear();
    for (const path of deleted) this.#deleted.add(path);
  }

  /** Takes a piece; a whole checkpoint is stored behind the agent's back. */
  async take(piece: CheckpointPiece): Promise<void> {
    if (this.#isOff) return;
    for (const file of piece.files) await this.#keep(file);
    this.#incomingDeleted.push(...piece.deleted);
    if (this.#bytes > maxBytes || this.#count > maxFiles) {
      await this.end("the changed files are too large together");
      return;
    }
    if (!piece.last) return;
    for (const [path, file] of this.#incoming) {
      this.#files.set(path, file);
      this.#deleted.delete(path);
    }
    for (const path of this.#incomingDeleted) {
      this.#files.delete(path);
      this.#deleted.add(path);
    }
    this.#incoming.clear();
    this.#incomingDeleted = [];
    this.#newest = { step: piece.step, call: piece.call };
    this.#storing ??= this.#store();
  }

  /** No more checkpoints: a lost runner costs what follows the last one. */
  async end(reason: string): Promise<void> {
    if (this.#isOff) return;
    this.#isOff = true;
    const message = `changed files are not kept any more: ${reason}`;
    await this.#options.note({ level: "warn", topic: "agent.log", message });
  }

  /** Waits until what was taken is stored. Never throws. */
  async settled(): Promise<void> {
    while (this.#storing !== undefined) await this.#storing;
  }

  async #keep({ path, mode, target, data, more }: ChangedFile): Promise<void> {
    if (target !== "") {
      this.#incoming.set(path, { mode, target, file: "" });
      return;
    }
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    const known = more ? this.#incoming.get(path)?.file : undefined;
    // Contents are never changed once their checkpoint is whole: one may be on its way.
    const file = known ?? join(this.#folder, String(this.#count++));
    await appendFile(file, data);
    this.#bytes += data.length;
    this.#incoming.set(path, { mode, target, file });
  }

  async #store(): Promise<void> {
    try {
      while (this.#newest !== undefined) {
        const at = this.#newest;
        this.#newest = undefined;
        await this.#storeAt(at);
      }
    } catch (error) {
      if (!this.#options.signal.aborted) await this.#failed(error);
    } finally {
      this.#storing = undefined;
    }
  }

  async #storeAt(at: { readonly step: number; readonly call: string }): Promise<void> {
    const files = [...this.#files].sort(([a], [b]) => (a < b ? -1 : 1));
    const names = [...this.#deleted].sort();
    const sha256 = files.length === 0 ? "" : await this.#storeFiles(files);
    const list = Buffer.from(names.map((name) => `${name}\0`).join(""));
    const deletedSha256 =
      names.length === 0 ? "" : (await storeBlob(this.#options, contentOf(list))).sha256;
    await this.#options.note({
      level: "info",
      topic: "agent.checkpoint",
      message: `${files.length} changed and ${names.length} deleted files are kept`,
      payload: { ...at, sha256, deletedSha256, files: files.length, deleted: names.length },
    });
  }

  async #storeFiles(files: readonly (readonly [string, KeptFile])[]): Promise<string> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    await using tar = await TarFile.create(join(this.#folder, "changes.tar"));
    for (const [path, { mode, target, file }] of files) {
      const size = file === "" ? 0 : (await stat(file)).size;
      const type = file === "" ? "symlink" : "file";
      await tar.begin({ type, path, target, mode, size, mtimeSeconds: 0 });
      if (file !== "") {
        await tar.write(await readFile(file));
        await tar.write(padding(size));
      }
    }
    return (await storeBlob(this.#options, await tar.end())).sha256;
  }

  async #failed(error: unknown): Promise<void> {
    const { reason, message } = toDevmeshError(error);
    await this.end(`${reason}: ${message}`).catch(() => {
      // The log takes nothing any more: the attempt hears of it by itself.
    });
  }
}
