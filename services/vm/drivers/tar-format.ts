/**
 * Owns the tar format as bytes: reading headers (ustar, pax, GNU long names)
 * and writing them (ustar with pax where it must). Which entries are welcome is
 * left to `tar-guard.ts`.
 */
import { DevmeshError } from "@devmesh/mesh/errors";
import type { ByteReader } from "./byte-reader.ts";

/** What an entry is. Everything else in an archive is refused. */
export type TarEntryType = "file" | "directory" | "symlink" | "link";

/** One entry's header. */
export interface TarEntry {
  readonly type: TarEntryType;
  /** As it stands in the archive, without a trailing slash. */
  readonly path: string;
  /** The target of a symlink or link. Empty otherwise. */
  readonly target: string;
  /** Permission bits. */
  readonly mode: number;
  /** Bytes of content that follow. */
  readonly size: number;
  readonly mtimeSeconds: number;
}

/** The size of a tar block. */
export const blockBytes = 512;

/** Names longer than this are refused: no file system takes them. */
const maxExtensionBytes = 64 * 1024;

const utf8 = new TextDecoder("utf-8", { fatal: true });

/** The refusal of an archive; `path` names the entry where one is at fault. */
export function workspaceInvalid(message: string, path = "", cause?: unknown): DevmeshError {
  return new DevmeshError("WORKSPACE_INVALID", message, { metadata: { path }, cause });
}

/**
 * The next entry, with the reader at its content; undefined at the end mark.
 * Throws WORKSPACE_INVALID for what is broken, cut off or of an unknown type.
 */
export async function readTarEntry(reader: ByteReader): Promise<TarEntry | undefined> {
  const overrides = new Map<string, string>();
  for (;;) {
    const block = await reader.exact(blockBytes);
    if (block.length < blockBytes) throw workspaceInvalid("the archive ends without its end mark");
    if (block.every((byte) => byte === 0)) return undefined;
    checkSum(block);
    const size = numberAt(block, 124, 12);
    const kind = String.fromCharCode(block[156] ?? 0);
    switch (kind) {
      case "L":
      case "K": {
        const data = await extension(reader, size);
        const end = data.indexOf(0);
        overrides.set(
          kind === "L" ? "path" : "linkpath",
          text(end < 0 ? data : data.subarray(0, end)),
        );
        continue;
      }
      case "x":
        for (const [key, value] of paxRecords(await extension(reader, size))) {
          overrides.set(key, value);
        }
        continue;
      case "g":
        // Defaults for all entries: comments in practice (`git archive`), and none is honoured.
        await extension(reader, size);
        continue;
      default:
        return entryOf(block, kind, size, overrides);
    }
  }
}

/** The header blocks of an entry; content and its padding are the caller's. */
export function tarHeader(entry: TarEntry): Buffer {
  const path = entry.type === "directory" ? `${entry.path}/` : entry.path;
  const pax: [string, string][] = [];
  if (!fitsField(path, 100)) pax.push(["path", path]);
  if (!fitsField(entry.target, 100)) pax.push(["linkpath", entry.target]);
  if (entry.size > 0o77777777777) pax.push(["size", String(entry.size)]);
  const header = ustar(
    { ...entry, path },
    { file: "0", link: "1", symlink: "2", directory: "5" }[entry.type],
  );
  if (pax.length === 0) return header;
  const records = Buffer.from(pax.map(([key, value]) => paxRecord(key, value)).join(""));
  const extra = ustar(
    { ...entry, path: "pax", target: "", size: records.length, mode: 0o644 },
    "x",
  );
  return Buffer.concat([extra, records, padding(records.length), header]);
}

/** The zeros that fill the last block of a content of `size` bytes. */
export function padding(size: number): Buffer {
  return Buffer.alloc((blockBytes - (size % blockBytes)) % blockBytes);
}

/** The end mark of an archive. */
export function tarEnd(): Buffer {
  return Buffer.alloc(2 * blockBytes);
}

function entryOf(
  block: Buffer,
  kind: string,
  headerSize: number,
  overrides: Map<string, string>,
): TarEntry {
  const prefix = block.toString("latin1", 257, 262) === "ustar" ? field(block, 345, 155) : "";
  const name = field(block, 0, 100);
  const path = overrides.get("path") ?? (prefix === "" ? name : `${prefix}/${name}`);
  for (const key of overrides.keys()) {
    if (key.startsWith("GNU.sparse."))
      throw workspaceInvalid(`${path}: sparse entries are not taken`, path);
  }
  const type = typeOf(kind, path);
  const size = Number(overrides.get("size") ?? headerSize);
  if (!Number.isSafeInteger(size) || size < 0)
    throw workspaceInvalid(`${path}: its size is broken`, path);
  return {
    type,
    path: path.replace(/\/+$/, ""),
    target:
      type === "symlink" || type === "link"
        ? (overrides.get("linkpath") ?? field(block, 157, 100))
        : "",
    mode: numberAt(block, 100, 8) & 0o777,
    size: type === "file" ? size : 0,
    mtimeSeconds: numberAt(block, 136, 12),
  };
}

function typeOf(kind: string, path: string): TarEntryType {
  switch (kind) {
    case "0":
    case "\0":
    case "7":
      return path.endsWith("/") ? "directory" : "file";
    case "1":
      return "link";
    case "2":
      return "symlink";
    case "5":
      return "directory";
    case "3":
    case "4":
      throw workspaceInvalid(`${path}: device nodes are not taken`, path);
    case "6":
      throw workspaceInvalid(`${path}: named pipes are not taken`, path);
    default:
      throw workspaceInvalid(
        `${path}: entries of type ${JSON.stringify(kind)} are not taken`,
        path,
      );
  }
}

async function extension(reader: ByteReader, size: number): Promise<Buffer> {
  if (size > maxExtensionBytes) throw workspaceInvalid("a name in the archive is too long");
  const padded = await reader.exact(Math.ceil(size / blockBytes) * blockBytes);
  if (padded.length < size) throw workspaceInvalid("the archive is cut off");
  return padded.subarray(0, size);
}

function* paxRecords(data: Buffer): Generator<[string, string]> {
  let at = 0;
  while (at < data.length) {
    const space = data.indexOf(0x20, at);
    const length = Number(data.toString("latin1", at, space));
    const end = at + length;
    const equals = data.indexOf(0x3d, space);
    if (
      space < 0 ||
      !Number.isInteger(length) ||
      length < 5 ||
      end > data.length ||
      equals < 0 ||
      equals >= end
    ) {
      throw workspaceInvalid("an extended header of the archive is broken");
    }
    const key = data.toString("latin1", space + 1, equals);
    // Only these may carry bytes that are not text (extended attributes), and they are dropped.
    if (!key.includes("xattr")) yield [key, text(data.subarray(equals + 1, end - 1))];
    at = end;
  }
}

function paxRecord(key: string, value: string): string {
  const rest = Buffer.byteLength(` ${key}=${value}\n`);
  let length = rest + String(rest).length;
  if (rest + String(length).length !== length) length = rest + String(length).length;
  return `${length} ${key}=${value}\n`;
}

function ustar(entry: Omit<TarEntry, "type">, kind: string): Buffer {
  const block = Buffer.alloc(blockBytes);
  block.write(entry.path, 0, 100, "utf8");
  block.write(octal(entry.mode, 7), 100, "latin1");
  block.write(octal(0, 7), 108, "latin1");
  block.write(octal(0, 7), 116, "latin1");
  block.write(octal(Math.min(entry.size, 0o77777777777), 11), 124, "latin1");
  block.write(octal(Math.min(Math.max(0, entry.mtimeSeconds), 0o77777777777), 11), 136, "latin1");
  block.write("        ", 148, "latin1");
  block.write(kind, 156, "latin1");
  block.write(entry.target, 157, 100, "utf8");
  block.write("ustar\x0000", 257, "latin1");
  block.write(`${octal(sum(block), 6)}\0 `, 148, "latin1");
  return block;
}

function octal(value: number, digits: number): string {
  return Math.floor(value).toString(8).padStart(digits, "0");
}

function fitsField(value: string, bytes: number): boolean {
  return Buffer.byteLength(value) <= bytes && /^[\x20-\x7e]*$/.test(value);
}

function field(block: Buffer, at: number, length: number): string {
  const raw = block.subarray(at, at + length);
  const end = raw.indexOf(0);
  return text(end < 0 ? raw : raw.subarray(0, end));
}

function text(data: Uint8Array): string {
  try {
    return utf8.decode(data);
  } catch (error: unknown) {
    throw workspaceInvalid("a name in the archive is not UTF-8", "", error);
  }
}

function numberAt(block: Buffer, at: number, length: number): number {
  const first = block[at] ?? 0;
  if ((first & 0x80) !== 0) {
    // GNU's base-256 form. Negative numbers (dates before 1970) count as 0.
    if (first === 0xff) return 0;
    return block
      .subarray(at + 1, at + length)
      .reduce((value, byte) => value * 256 + byte, first & 0x7f);
  }
  const digits = block
    .toString("latin1", at, at + length)
    .replaceAll("\0", " ")
    .trim();
  if (!/^[0-7]*$/.test(digits)) throw workspaceInvalid("a header of the archive is broken");
  return digits === "" ? 0 : Number.parseInt(digits, 8);
}

function checkSum(block: Buffer): void {
  const wanted = numberAt(block, 148, 8);
  const seen = Buffer.from(block);
  seen.fill(0x20, 148, 156);
  if (sum(seen) !== wanted) {
    throw workspaceInvalid(
      "the archive is not a tar, or it is damaged (a header's checksum is wrong)",
    );
  }
}

function sum(block: Buffer): number {
  return block.reduce((total, byte) => total + byte, 0);
}
