/**
 * What processes hold together, shared things once: anonymous memory, files in
 * memory, files that have no name any more. Limits are left to the watch.
 */
import { readdir, readFile, readlink, stat } from "node:fs/promises";

/** What was seen of some processes. */
export interface TreeHold {
  /** Anonymous memory, shared maps and files in memory without a name (memfd), in bytes. */
  readonly memoryBytes: number;
  /** Files on disks that are open and have no name, in bytes. */
  readonly diskBytes: number;
  /** Processes that live and hide their files from their own user. */
  readonly hidden: readonly number[];
}

/** A file without a name. */
interface Nameless {
  readonly isMemory: boolean;
  readonly bytes: number;
}

/** A map of memory that has a file of its own behind it. */
interface SharedMap {
  readonly file: string;
  readonly bytes: number;
}

/** One process. */
interface Held {
  readonly ownBytes: number;
  readonly maps: readonly SharedMap[];
  readonly files: ReadonlyMap<string, Nameless>;
  readonly isHidden: boolean;
}

const nothing: Held = { ownBytes: 0, maps: [], files: new Map(), isHidden: false };
const sectorBytes = 512;
const pageBytes = 4096;

/**
 * Looks at processes. Files on the device `shmDevice`, a sandbox's `/dev/shm`, and maps of
 * System V memory are left out: both are known as a whole.
 */
export async function readHold(pids: readonly number[], shmDevice?: number): Promise<TreeHold> {
  const all = await Promise.all(pids.map((pid) => readOne(pid, shmDevice)));
  const files = new Map(all.flatMap((held) => [...held.files]));
  let [memoryBytes, diskBytes] = [0, 0];
  for (const { isMemory, bytes } of files.values()) {
    if (isMemory) memoryBytes += bytes;
    else diskBytes += bytes;
  }
  for (const { ownBytes, maps } of all) {
    memoryBytes += ownBytes;
    // The part of a map that falls to each process; of a file that is open all of it counts above.
    for (const { file, bytes } of maps) if (!files.has(file)) memoryBytes += bytes;
  }
  return { memoryBytes, diskBytes, hidden: pids.filter((_, at) => all[at]?.isHidden) };
}

async function readOne(pid: number, shmDevice: number | undefined): Promise<Held> {
  try {
    const { ownBytes, hasMaps } = await readRollup(pid);
    const maps = hasMaps ? sharedMaps(await readFile(`/proc/${pid}/smaps`, "latin1")) : [];
    return { ownBytes, maps, files: await namelessFiles(pid, shmDevice), isHidden: false };
  } catch {
    // It ended while we looked, or it lets nobody look.
    return { ...nothing, isHidden: await isAlive(pid) };
  }
}

/** A process that ends has no memory any more, but its files may be there for a moment. */
async function isAlive(pid: number): Promise<boolean> {
  try {
    return !(await readFile(`/proc/${pid}/statm`, "latin1")).startsWith("0 ");
  } catch {
    return false;
  }
}

async function readRollup(pid: number): Promise<{ ownBytes: number; hasMaps: boolean }> {
  const text = await readFile(`/proc/${pid}/smaps_rollup`, "latin1").catch(async () => {
    // A kernel that has none tells at least what is nobody else's.
    const [, resident, shared] = (await readFile(`/proc/${pid}/statm`, "latin1")).split(" ");
    return `Pss: ${((Number(resident) - Number(shared)) * pageBytes) / 1024} kB`;
  });
  const own = kibOf(text, "Pss_Anon") ?? kibOf(text, "Pss") ?? 0;
  const swapped = kibOf(text, "SwapPss") ?? 0;
  return { ownBytes: (own + swapped) * 1024, hasMaps: (kibOf(text, "Pss_Shmem") ?? 0) > 0 };
}

function kibOf(text: string, name: string): number | undefined {
  const value = new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(text)?.[1];
  return value === undefined ? undefined : Number(value);
}

/** Maps of memory files and of shared anonymous memory in a `/proc/PID/smaps`. */
function sharedMaps(smaps: string): SharedMap[] {
  const maps: SharedMap[] = [];
  let file: string | undefined;
  for (const line of smaps.split("\n")) {
    const [, device, inode, name = ""] =
      /^[0-9a-f]+-[0-9a-f]+ \S+ \S+ ([0-9a-f]+:[0-9a-f]+) (\d+)\s*(.*)$/.exec(line) ?? [];
    if (device !== undefined) {
      file = /^\/(memfd:|dev\/zero )/.test(name) ? `${inode}` : undefined;
    } else if (file !== undefined && line.startsWith("Pss:")) {
      maps.push({ file: `memory:${file}`, bytes: (kibOf(line, "Pss") ?? 0) * 1024 });
    }
  }
  return maps;
}

async function namelessFiles(
  pid: number,
  shmDevice: number | undefined,
): Promise<Map<string, Nameless>> {
  const folder = `/proc/${pid}/fd`;
  const files = new Map<string, Nameless>();
  for (const name of await readdir(folder)) {
    try {
      const path = `${folder}/${name}`;
      const found = await stat(path);
      if (found.nlink > 0 || !found.isFile() || found.dev === shmDevice) continue;
      const isMemory = /^\/(memfd:|dev\/zero )/.test(await readlink(path));
      const key = isMemory ? `memory:${found.ino}` : `${found.dev}:${found.ino}`;
      files.set(key, { isMemory, bytes: found.blocks * sectorBytes });
    } catch {
      // It was closed while we looked.
    }
  }
  return files;
}
