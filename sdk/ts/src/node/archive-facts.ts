/** Owns what an archive holds, told by its hashes, and reading archives plain or zipped. */
import { createHash } from "node:crypto";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGunzip } from "node:zlib";
import { extract } from "tar-stream";

/** Paths, and what is there: `file <SHA-256>` or `link <target>`. */
export type ArchiveFacts = ReadonlyMap<string, string>;

/** What a file's content is told by. */
export function fileFact(sha256: string): string {
  return `file ${sha256}`;
}

/** What a link is told by. */
export function linkFact(target: string): string {
  return `link ${target}`;
}

/** Reads a tar or tar.gz to its end. */
export async function archiveFacts(
  source: AsyncGenerator<Uint8Array, void, undefined>,
): Promise<ArchiveFacts> {
  const facts = new Map<string, string>();
  const entries = extract();
  const { content, isGzip } = await peek(source);
  const stages = isGzip ? [createGunzip(), entries] : [entries];
  const reading = pipeline([Readable.from(content), ...stages]);
  const taking = (async () => {
    for await (const entry of entries) {
      const { name, type, linkname } = entry.header;
      const path = name.replace(/^(\.\/)+/, "").replace(/\/+$/, "");
      const hash = createHash("sha256");
      for await (const chunk of entry as AsyncIterable<Uint8Array>) hash.update(chunk);
      if (type === "symlink") facts.set(path, linkFact(linkname ?? ""));
      else if (type === "link") facts.set(path, facts.get(linkname ?? "") ?? "");
      else if (type !== "directory") facts.set(path, fileFact(hash.digest("hex")));
    }
  })();
  await Promise.all([reading, taking]);
  return facts;
}

/** Looks at the first two bytes: gzip or plain tar. */
export async function peek(source: AsyncGenerator<Uint8Array, void, undefined>) {
  const first = await source.next();
  if (first.done) return { content: source, isGzip: false };
  const content = (async function* () {
    yield first.value;
    yield* source;
  })();
  return { content, isGzip: first.value[0] === 0x1f && first.value[1] === 0x8b };
}
