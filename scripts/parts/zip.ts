/** Takes single files out of a ZIP archive (a Python wheel, a Java archive) below 4 GiB. */
import { promisify } from "node:util";
import { inflateRaw } from "node:zlib";

const END_SIGNATURE = 0x06054b50;
const ENTRY_SIGNATURE = 0x02014b50;
const END_BYTES = 22;
const ENTRY_BYTES = 46;
const LOCAL_BYTES = 30;
const STORED = 0;
const DEFLATED = 8;

const inflate = promisify(inflateRaw);

/** The content of the file named `name`. Throws when the archive has none of that name. */
export async function unzipped(archive: Buffer, name: string): Promise<Buffer> {
  const end = endRecord(archive);
  let at = archive.readUInt32LE(end + 16);
  while (at < end && archive.readUInt32LE(at) === ENTRY_SIGNATURE) {
    const nameBytes = archive.readUInt16LE(at + 28);
    const nameStart = at + ENTRY_BYTES;
    if (archive.toString("utf8", nameStart, nameStart + nameBytes) === name) {
      return await content(archive, at, name);
    }
    at = nameStart + nameBytes + archive.readUInt16LE(at + 30) + archive.readUInt16LE(at + 32);
  }
  throw new Error(`the archive has no file ${name}`);
}

async function content(archive: Buffer, entry: number, name: string): Promise<Buffer> {
  const method = archive.readUInt16LE(entry + 10);
  const packedBytes = archive.readUInt32LE(entry + 20);
  const local = archive.readUInt32LE(entry + 42);
  // The local header's own lengths count: its extra field may differ from the directory's.
  const start =
    local + LOCAL_BYTES + archive.readUInt16LE(local + 26) + archive.readUInt16LE(local + 28);
  const packed = archive.subarray(start, start + packedBytes);
  if (method === STORED) return packed;
  if (method === DEFLATED) return await inflate(packed);
  throw new Error(`${name} is packed by the unknown method ${method}`);
}

function endRecord(archive: Buffer): number {
  for (let at = archive.length - END_BYTES; at >= 0; at--) {
    if (archive.readUInt32LE(at) === END_SIGNATURE) return at;
  }
  throw new Error("this is not a ZIP archive");
}
