/** Owns writing a cpio archive (`newc`), the format of an initramfs. Owner is always root. */

const typeFolder = 0o040000;
const typeFile = 0o100000;

/** One entry of an archive: a folder when it has no data. */
export interface CpioEntry {
  /** Relative, without a leading slash; its folder comes before it. */
  readonly path: string;
  /** Permission bits. Default: 0o755. */
  readonly mode?: number;
  readonly data?: Buffer;
}

/** The archive of these entries. The same entries give the same bytes. */
export function cpioArchive(entries: readonly CpioEntry[]): Buffer {
  const pieces: Buffer[] = [];
  entries.forEach((entry, index) => {
    const type = entry.data ? typeFile : typeFolder;
    push(pieces, index + 1, entry.path, type | (entry.mode ?? 0o755), entry.data);
  });
  push(pieces, 0, "TRAILER!!!", 0, undefined);
  return Buffer.concat(pieces);
}

function push(pieces: Buffer[], inode: number, path: string, mode: number, data?: Buffer): void {
  const name = Buffer.from(`${path}\0`);
  const size = data?.length ?? 0;
  // magic ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check
  const fields = [inode, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name.length, 0];
  const header = fields.map((field) => field.toString(16).padStart(8, "0")).join("");
  pieces.push(padded(Buffer.concat([Buffer.from(`070701${header}`), name])));
  if (data) pieces.push(padded(data));
}

function padded(bytes: Buffer): Buffer {
  const rest = bytes.length % 4;
  return rest === 0 ? bytes : Buffer.concat([bytes, Buffer.alloc(4 - rest)]);
}
