/** Takes the work dir out of a sandbox as an archive on the host's disk, bounded in time and bytes. */
import { createWriteStream } from "node:fs";
import type { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { DevmeshError } from "@devmesh/mesh/errors";
import type { Clock } from "@devmesh/mesh/runtime";
import type { Sandbox } from "../../drivers/driver.ts";
import type { Archive } from "./workspace-changes.ts";

/**
 * How long it may take: the default disk of 2 GiB, full, at 4 MiB a second, which a loaded host
 * still manages, and a little more.
 */
const withinMs = 10 * 60 * 1000;

const mib = 1024 * 1024;

/** What is taken, and whereto. */
export interface WorkDirSource {
  /** Nothing of the job runs in it any more. */
  readonly sandbox: Sandbox;
  readonly path: string;
  /** The size of its disk. */
  readonly diskBytes: number;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/**
 * Writes the archive. Throws TOO_LARGE as soon as it has more bytes than
 * fit on the sandbox's disk, DEADLINE_EXCEEDED after ten minutes, and what `get` throws.
 */
export async function fetchWorkDir(source: WorkDirSource): Promise<Archive> {
  const { sandbox, path, diskBytes, clock, signal } = source;
  const maxBytes = mostBytes(diskBytes);
  const ended = new AbortController();
  const late = new AbortController();
  const bound = AbortSignal.any([signal, late.signal]);
  clock.sleep(withinMs, ended.signal).then(
    () => late.abort(),
    () => {
      // Taken in time.
    },
  );
  try {
    const tar = await sandbox.get(bound);
    await pipeline(
      tar,
      (from: Readable) => counted(from, maxBytes, diskBytes),
      createWriteStream(path),
      {
        signal: bound,
      },
    );
  } catch (error) {
    if (!late.signal.aborted || signal.aborted) throw error;
    const message = `the work dir could not be taken out of the sandbox within ${withinMs / 60_000} minutes`;
    throw new DevmeshError("DEADLINE_EXCEEDED", message, { cause: error });
  } finally {
    ended.abort();
  }
  return { path, maxBytes };
}

/**
 * The disk and half of it again: an archive has at most 2 KiB of headers and padding for a file,
 * and a disk holds about one file for each 4 KiB. The end of an archive is padded to 10 KiB.
 */
function mostBytes(diskBytes: number): number {
  return diskBytes + diskBytes / 2 + mib;
}

async function* counted(from: Readable, maxBytes: number, diskBytes: number) {
  let bytes = 0;
  for await (const chunk of from as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > maxBytes) {
      const message = `the work dir takes up more room than its disk of ${diskBytes / mib} MiB has: it holds sparse files, or too many files`;
      throw new DevmeshError("TOO_LARGE", message, { metadata: { limit_bytes: `${maxBytes}` } });
    }
    yield chunk;
  }
}
