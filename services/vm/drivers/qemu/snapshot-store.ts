/**
 * Owns the snapshots of a host: made once for each shape by one process at a time, checked
 * whenever they are read, bounded in number and size. Booting what is saved is left to
 * `template.ts`.
 */
import { randomBytes } from "node:crypto";
import { type FileHandle, mkdir, open, readdir, rename, rm, stat, utimes } from "node:fs/promises";
import { join } from "node:path";
import { DevmeshError } from "@devmesh/mesh/errors";
import { sandboxFailed } from "../driver-errors.ts";
import type { GuestFacts } from "../guest/guest-facts.ts";
import { within } from "../within.ts";
import { exclusively } from "./exclusive.ts";
import { loadPack, packImage, type Run, unpackImage, writePack } from "./image-pack.ts";
import { reopen, SealedMemory } from "./sealed-memory.ts";
import {
  manifestFile,
  readManifest,
  type SnapshotManifest,
  writeManifest,
} from "./snapshot-manifest.ts";
import { keyOf, type SnapshotShape } from "./snapshot-shape.ts";
import type { Template } from "./template.ts";

/** What a store works with. */
export interface SnapshotStoreOptions {
  /** Made if it is not there; for nobody but this user. */
  readonly folder: string;
  /** How many snapshots are kept on disk. Default: 8. */
  readonly maxCount?: number;
  /** How many bytes of them. Default: 4 GiB. */
  readonly maxBytes?: number;
  /** How many are held in memory when nobody uses them. Default: 2. */
  readonly maxIdle?: number;
  /** False: as where there is no sealed memory. Default: true. */
  readonly sealed?: boolean;
}

/** The empty files that a template is saved to. */
export interface TemplateFiles {
  readonly memory: FileHandle;
  readonly state: FileHandle;
}

/** What was made for a snapshot, with what is left on the host until it is packed. */
export interface MadeTemplate extends Template {
  remove(): Promise<void>;
}

/** A snapshot that can be started from. */
export interface Snapshot {
  readonly facts: GuestFacts;
  /** The memory, for one guest; what the guest writes is seen by no other. `folder`: its own. */
  openMemory(folder: string): Promise<FileHandle>;
  /** The machine's state, from its beginning. */
  openState(): Promise<FileHandle>;
  /** Writes the scratch disk into an empty file. */
  writeScratch(target: FileHandle): Promise<void>;
}

interface Held {
  readonly loading: Promise<Loaded>;
  /** Ends the loading: nobody waits for it any more. */
  readonly stop: AbortController;
  users: number;
  isLoaded: boolean;
}

interface Loaded extends Snapshot {
  close(): Promise<void>;
}

/** Others may be making theirs first, one at a time. */
const loadLimitMs = 300_000;
const mib = 1 << 20;
const parts = ["memory", "state", "scratch"] as const;

/** The snapshots of one host. */
export class SnapshotStore {
  readonly #options: SnapshotStoreOptions;
  /** By key, the least recently used first. */
  readonly #held = new Map<string, Held>();

  constructor(options: SnapshotStoreOptions) {
    this.#options = options;
  }

  /**
   * Calls `use` with the snapshot of this shape, which `make` makes if there is none that can
   * be used; many calls share one making. Throws what they throw, SANDBOX_FAILED when a
   * snapshot cannot be kept, and CANCELLED when `signal` fires before there is one.
   */
  async with<T>(
    shape: SnapshotShape,
    make: (files: TemplateFiles, signal: AbortSignal) => Promise<MadeTemplate>,
    signal: AbortSignal | undefined,
    use: (snapshot: Snapshot) => Promise<T>,
  ): Promise<T> {
    const key = keyOf(shape);
    const known = this.#held.get(key);
    // One that nobody waited for any more is on its way out.
    const held =
      known && (known.isLoaded || known.users > 0) ? known : this.#hold(key, shape, make);
    // The last one in the map is the one used last.
    this.#held.delete(key);
    this.#held.set(key, held);
    held.users++;
    try {
      return await use(await within(loadLimitMs, held.loading, signal));
    } finally {
      held.users--;
      if (held.users === 0 && !held.isLoaded) {
        held.stop.abort();
        await held.loading.catch(() => {});
      }
      await this.#letGo(this.#options.maxIdle ?? 2);
    }
  }

  /** Throws a snapshot away that proved to be of no use. Those who use it go on. */
  async discard(shape: SnapshotShape): Promise<void> {
    const key = keyOf(shape);
    this.#held.delete(key);
    await rm(join(this.#options.folder, key), { recursive: true, force: true });
  }

  /** Gives the memory of snapshots back that nobody uses. */
  async close(): Promise<void> {
    await this.#letGo(0);
  }

  #hold(
    key: string,
    shape: SnapshotShape,
    make: (files: TemplateFiles, signal: AbortSignal) => Promise<MadeTemplate>,
  ): Held {
    const stop = new AbortController();
    const loading = this.#load(shape, (files) => make(files, stop.signal), stop.signal);
    const held: Held = { loading, stop, users: 0, isLoaded: false };
    loading.then(
      () => {
        held.isLoaded = true;
      },
      // What failed to load is tried anew by the next who needs it.
      () => {
        if (this.#held.get(key) === held) this.#held.delete(key);
      },
    );
    return held;
  }

  async #letGo(maxIdle: number): Promise<void> {
    const idle = [...this.#held].filter(([, { users }]) => users === 0);
    for (const [key, { loading }] of idle.slice(0, Math.max(0, idle.length - maxIdle))) {
      this.#held.delete(key);
      const loaded = await loading.catch(() => undefined);
      await loaded?.close();
    }
  }

  async #load(
    shape: SnapshotShape,
    make: (files: TemplateFiles) => Promise<MadeTemplate>,
    signal: AbortSignal,
  ): Promise<Loaded> {
    const { folder } = this.#options;
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const known = await this.#read(shape);
    if (known) return known;
    return await exclusively(join(folder, ".lock"), signal, async () => {
      const made = (await this.#read(shape)) ?? (await this.#make(shape, make));
      await this.#makeRoom(keyOf(shape));
      return made;
    });
  }

  /** What is on disk, checked; `undefined` when there is nothing that can be used. */
  async #read(shape: SnapshotShape): Promise<Loaded | undefined> {
    const folder = join(this.#options.folder, keyOf(shape));
    try {
      const manifest = await readManifest(folder, shape);
      const loaded = await this.#loaded(folder, manifest);
      const now = new Date();
      await utimes(join(folder, manifestFile), now, now);
      return loaded;
    } catch {
      // Not there, not ours, half of one, changed since: made anew, never used.
      return undefined;
    }
  }

  async #loaded(folder: string, manifest: SnapshotManifest): Promise<Loaded> {
    const part = (name: (typeof parts)[number]) => open(join(folder, name));
    const scratch = await using(part("scratch"), (file) => loadPack(file, manifest.scratch));
    const sealed = await this.#sealedMemory([manifest.memory.size, 0]);
    if (!sealed) return unsealed(folder, manifest, scratch);
    try {
      const [memory, state] = filesOf(sealed);
      await using(part("memory"), (file) => unpackImage(file, manifest.memory, memory));
      await using(part("state"), (file) => unpackImage(file, manifest.state, state));
      await sealed.seal();
      return inMemory(sealed, manifest, scratch);
    } catch (error: unknown) {
      await sealed.close();
      throw error;
    }
  }

  /** Only the holder of the lock makes one, so any other draft is of a process that died. */
  async #make(
    shape: SnapshotShape,
    make: (files: TemplateFiles) => Promise<MadeTemplate>,
  ): Promise<Loaded> {
    const { folder } = this.#options;
    const target = join(folder, keyOf(shape));
    for (const name of await readdir(folder)) {
      if (name.startsWith(".draft")) await rm(join(folder, name), { recursive: true, force: true });
    }
    await rm(target, { recursive: true, force: true });
    const draft = join(folder, `.draft-${randomBytes(6).toString("hex")}`);
    await mkdir(draft, { mode: 0o700 });
    try {
      const manifest = await this.#fill(draft, shape, make);
      await rename(draft, target);
      return await this.#loaded(target, manifest);
    } catch (error: unknown) {
      await rm(draft, { recursive: true, force: true });
      if (error instanceof DevmeshError) throw error;
      throw sandboxFailed("qemu", `a snapshot cannot be kept: ${textOf(error)}`, error);
    }
  }

  /** Makes the guest and packs what it leaves. */
  async #fill(
    draft: string,
    shape: SnapshotShape,
    make: (files: TemplateFiles) => Promise<MadeTemplate>,
  ): Promise<SnapshotManifest> {
    const size = shape.memoryMib * mib;
    const sealed = await this.#sealedMemory([size, 0]);
    const files = sealed ? filesOf(sealed) : await plainFiles(draft, size);
    const [memory, state] = files;
    const pack = async (name: (typeof parts)[number], from: FileHandle, runs?: Run[]) => {
      const bytes = (await from.stat()).size;
      const to = open(join(draft, name), "wx", 0o600);
      return using(to, (target) => packImage(from, bytes, runs ?? [[0, bytes]], target));
    };
    try {
      const { facts, scratchPath, remove } = await make({ memory, state });
      try {
        const manifest: SnapshotManifest = {
          shape,
          facts,
          memory: await pack("memory", memory, await sealed?.extents(0)),
          state: await pack("state", state),
          scratch: await using(open(scratchPath), async (scratch) =>
            pack("scratch", scratch, await sealed?.extents(scratchPath)),
          ),
        };
        await writeManifest(draft, manifest);
        return manifest;
      } finally {
        await remove();
      }
    } finally {
      if (sealed) await sealed.close();
      else await Promise.all(files.map((file) => file.close()));
    }
  }

  async #sealedMemory(sizes: readonly number[]): Promise<SealedMemory | undefined> {
    if (this.#options.sealed === false) return undefined;
    try {
      return await SealedMemory.make(sizes);
    } catch {
      // No Linux, or no perl: each guest gets a copy of its own then, which takes longer.
      return undefined;
    }
  }

  /** Removes what was not used for longest until the bounds hold; never `key`. */
  async #makeRoom(key: string): Promise<void> {
    const { folder, maxCount = 8, maxBytes = 4 * 1024 * mib } = this.#options;
    const found: { name: string; usedMs: number; bytes: number }[] = [];
    for (const name of await readdir(folder)) {
      if (name.startsWith(".")) continue;
      const sizes = parts.map(async (part) => (await stat(join(folder, name, part))).size);
      const bytes = (await Promise.all(sizes).catch(() => [0])).reduce(
        (sum, size) => sum + size,
        0,
      );
      const info = await stat(join(folder, name, manifestFile)).catch(() => undefined);
      found.push({ name, bytes, usedMs: name === key ? Infinity : (info?.mtimeMs ?? 0) });
    }
    found.sort((a, b) => b.usedMs - a.usedMs);
    let total = 0;
    for (const [index, { name, bytes }] of found.entries()) {
      total += bytes;
      if (name === key || (index < maxCount && total <= maxBytes)) continue;
      await rm(join(folder, name), { recursive: true, force: true });
    }
  }
}

function inMemory(sealed: SealedMemory, manifest: SnapshotManifest, scratch: Buffer): Loaded {
  const [memory, state] = filesOf(sealed);
  return {
    facts: manifest.facts,
    openMemory: () => reopen(memory, "r+"),
    openState: () => reopen(state, "r"),
    writeScratch: (target) => writePack(scratch, manifest.scratch, target),
    close: () => sealed.close(),
  };
}

/** Each guest gets its own copy, which is checked while it is made. */
function unsealed(folder: string, manifest: SnapshotManifest, scratch: Buffer): Loaded {
  const copyOf = async (name: "memory" | "state", to: string): Promise<FileHandle> => {
    const path = join(to, `.${name}-${randomBytes(6).toString("hex")}`);
    // For QEMU's user, who opens it again; it has no name then.
    const copy = await open(path, "wx+", 0o600);
    try {
      await copy.chmod(0o666);
      await using(open(join(folder, name)), (pack) => unpackImage(pack, manifest[name], copy));
      return name === "state" ? await open(path) : copy;
    } catch (error: unknown) {
      await copy.close();
      throw error;
    } finally {
      if (name === "state") await copy.close();
      await rm(path, { force: true });
    }
  };
  return {
    facts: manifest.facts,
    openMemory: (to) => copyOf("memory", to),
    openState: () => copyOf("state", folder),
    writeScratch: (target) => writePack(scratch, manifest.scratch, target),
    close: async () => {},
  };
}

async function plainFiles(folder: string, size: number): Promise<[FileHandle, FileHandle]> {
  const make = async (name: string, bytes: number) => {
    const path = join(folder, `${name}.live`);
    const file = await open(path, "wx+", 0o600);
    await file.chmod(0o666);
    await file.truncate(bytes);
    await rm(path);
    return file;
  };
  return [await make("memory", size), await make("state", 0)];
}

function filesOf({ files }: SealedMemory): [FileHandle, FileHandle] {
  const [memory, state] = files;
  if (!memory || !state) throw new Error("there is no sealed memory");
  return [memory, state];
}

async function using<T>(
  opening: Promise<FileHandle>,
  use: (file: FileHandle) => Promise<T>,
): Promise<T> {
  const file = await opening;
  try {
    return await use(file);
  } finally {
    await file.close();
  }
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
