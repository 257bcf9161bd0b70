/**
 * What this process means to make and to remove on its host, written down
 * before it does so. Looking for what was left is the reconciler's.
 */
import { createHash } from "node:crypto";
import { type FileHandle, mkdir, open, readdir, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { formatOwner, isAlive, type Owner, parseOwner, thisOwner } from "../drivers/owner.ts";

/** How far one thing has come. */
export type JournalState = "making" | "made" | "removing" | "gone";

/** One line of the journal. */
export interface JournalRecord {
  readonly kind: "sandbox";
  readonly id: string;
  readonly driver: string;
  readonly jobId: string;
  readonly state: JournalState;
  readonly atMs: number;
}

/** The journal of a process that is no more. */
export interface EarlierJournal {
  /** What it had not seen to its end. */
  readonly open: readonly JournalRecord[];
  /** Takes it away: nothing of it is left on the host. */
  forget(): Promise<void>;
}

interface Line {
  readonly text: string;
  readonly durable: boolean;
  readonly written: PromiseWithResolvers<void>;
}

/** Lines of things that are gone before the file is written anew. */
const compactAt = 500;

/** One file for each process: nobody else writes to it. */
export class Journal {
  readonly #folder: string;
  readonly #path: string;
  readonly #owner: Owner;
  #file: FileHandle;
  readonly #open = new Map<string, JournalRecord>();
  #goneLines = 0;
  /** A write has failed, perhaps in the middle of a line. */
  #isTorn = false;
  #intents = 0;
  readonly #queue: Line[] = [];
  #isWriting = false;

  private constructor(folder: string, path: string, owner: Owner, file: FileHandle) {
    this.#folder = folder;
    this.#path = path;
    this.#owner = owner;
    this.#file = file;
  }

  /** Begins this process's journal in `folder`, which is made. Throws what the file system throws. */
  static async begin(folder: string): Promise<Journal> {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const owner = await thisOwner();
    const path = join(folder, fileOf(owner));
    const file = await open(path, "a", 0o600);
    const journal = new Journal(folder, path, owner, file);
    await journal.#write(headOf(owner), true);
    return journal;
  }

  /** How often something was to be made or removed so far. */
  get intents(): number {
    return this.#intents;
  }

  /** What is not gone yet, by id. */
  get open(): ReadonlyMap<string, JournalRecord> {
    return this.#open;
  }

  /**
   * Writes down what will be done; it is on the disk when this resolves. Throws what the file
   * system throws; whoever does not do it then says so by `done`.
   */
  intend(record: JournalRecord): Promise<void> {
    this.#intents += 1;
    this.#take(record);
    return this.#write(lineOf(record), true);
  }

  /**
   * Writes down what was done. A loss of it costs a look at the host, no more. Throws what the
   * file system throws; what is open in this process is right all the same.
   */
  done(record: JournalRecord): Promise<void> {
    this.#take(record);
    return this.#write(lineOf(record), false);
  }

  /** The journals of processes that live no more. What cannot be read in one is passed over. */
  async earlier(): Promise<EarlierJournal[]> {
    const found: EarlierJournal[] = [];
    for (const name of await readdir(this.#folder)) {
      const path = join(this.#folder, name);
      if (!name.endsWith(".jsonl") || path === this.#path) continue;
      // Its owner may have ended, and removed it, since it was listed.
      const text = await readFile(path, "utf8").catch(() => undefined);
      if (text === undefined) continue;
      const { owner, open } = parseJournal(text);
      // One whose first line never reached the disk has made nothing.
      if (owner !== undefined && (await isAlive(owner))) continue;
      found.push({ open, forget: () => rm(path, { force: true }) });
    }
    return found;
  }

  /** The ids that other living processes with the same folder have under way. */
  async othersOpen(): Promise<Set<string>> {
    const ids = new Set<string>();
    for (const name of await readdir(this.#folder)) {
      const path = join(this.#folder, name);
      if (!name.endsWith(".jsonl") || path === this.#path) continue;
      const { owner, open } = parseJournal(await readFile(path, "utf8").catch(() => ""));
      if (owner === undefined || !(await isAlive(owner))) continue;
      for (const { id } of open) ids.add(id);
    }
    return ids;
  }

  /** Ends it, after all that was written; the file goes if nothing is open. */
  async close(): Promise<void> {
    // Only waits: what could not be written was told to who wrote it.
    await this.#write("", false);
    await this.#file.close();
    if (this.#open.size === 0) await rm(this.#path, { force: true });
  }

  #take(record: JournalRecord): void {
    if (record.state === "gone") {
      this.#open.delete(record.id);
      this.#goneLines += 1;
    } else {
      this.#open.set(record.id, record);
    }
  }

  #write(text: string, durable: boolean): Promise<void> {
    const written = Promise.withResolvers<void>();
    this.#queue.push({ text, durable, written });
    if (!this.#isWriting) void this.#writeAll();
    return written.promise;
  }

  /** All that comes while the disk is busy goes together with the next write. */
  async #writeAll(): Promise<void> {
    this.#isWriting = true;
    while (this.#queue.length > 0) {
      const batch = this.#queue.splice(0);
      try {
        await this.#append(batch.map(({ text }) => text).join(""));
        if (batch.some(({ durable }) => durable)) await this.#file.datasync();
        for (const { written } of batch) written.resolve();
      } catch (error: unknown) {
        this.#isTorn = true;
        for (const { written } of batch) written.reject(error);
      }
    }
    this.#isWriting = false;
  }

  async #append(text: string): Promise<void> {
    if (text === "") return;
    const compacts = this.#goneLines > compactAt && this.#goneLines > 4 * this.#open.size;
    if (compacts && (await this.#compact())) return;
    // Whatever was cut off before ends here, and is a line of its own.
    await this.#file.appendFile(this.#isTorn ? `\n${text}` : text);
    this.#isTorn = false;
  }

  /** What is open is all that matters, and it is in memory. False: there is no room for it. */
  async #compact(): Promise<boolean> {
    const draft = `${this.#path}.new`;
    let file: FileHandle | undefined;
    try {
      file = await open(draft, "w", 0o600);
      const lines = [headOf(this.#owner), ...[...this.#open.values()].map(lineOf)];
      await file.appendFile(lines.join(""));
      await file.datasync();
      await rename(draft, this.#path);
    } catch {
      // The journal that is there stays, and takes the next line.
      await file?.close();
      await rm(draft, { force: true });
      return false;
    }
    await this.#file.close();
    this.#file = file;
    this.#goneLines = 0;
    this.#isTorn = false;
    return true;
  }
}

/** Reads a journal as far as it can be read: a line that was cut off says nothing, those behind it do. */
export function parseJournal(text: string): { owner: Owner | undefined; open: JournalRecord[] } {
  let owner: Owner | undefined;
  const open = new Map<string, JournalRecord>();
  for (const line of text.split("\n")) {
    // A record is flat: behind one that was cut off, the next begins with the last brace.
    const value = parsed(line) ?? parsed(line.slice(Math.max(0, line.lastIndexOf('{"'))));
    if (value === undefined) continue;
    if (typeof value.owner === "string") owner ??= parseOwner(value.owner);
    else if (isRecord(value)) {
      if (value.state === "gone") open.delete(value.id);
      else open.set(value.id, value);
    }
  }
  return { owner, open: [...open.values()] };
}

function parsed(line: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === "object" && value !== null ? { ...value } : undefined;
  } catch {
    // The end of a file whose process was killed in the middle of a write, or damage.
    return undefined;
  }
}

function isRecord(value: object): value is JournalRecord {
  return (
    "id" in value &&
    typeof value.id === "string" &&
    /^sbx_\w{1,60}$/.test(value.id) &&
    "state" in value &&
    ["making", "made", "removing", "gone"].includes(String(value.state))
  );
}

function headOf(owner: Owner): string {
  return `${JSON.stringify({ owner: formatOwner(owner) })}\n`;
}

function lineOf(record: JournalRecord): string {
  return `${JSON.stringify(record)}\n`;
}

/** The owner's form has slashes; a name has none. */
function fileOf(owner: Owner): string {
  const digest = createHash("sha256").update(formatOwner(owner)).digest("hex");
  return `${owner.pid}-${digest.slice(0, 16)}.jsonl`;
}
