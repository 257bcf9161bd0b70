/**
 * Owns the disk images that a sandbox needs besides its root: the scratch disk behind its
 * writes, and one read-only image per mount, kept as long as its source does not change.
 */
import { createHash, randomBytes } from "node:crypto";
import {
  copyFile,
  lstat,
  mkdir,
  open,
  readdir,
  readFile,
  realpath,
  rename,
  rm,
} from "node:fs/promises";
import { join } from "node:path";
import { runTool } from "../run-tool.ts";

const mkfsLimitMs = 120_000;
const mib = 1 << 20;
/** No journal and no checksums: an image is either scratch or never written again. */
const ext4Features = ["-O", "^has_journal,^metadata_csum,uninit_bg", "-E", "lazy_itable_init=1"];
const imageForm = "2";
/** Files up to this size are known by what is in them: jobs that bring the same share an image. */
const smallBytes = mib;
const smallPrefix = "small-";
/** Images of small files that are kept: many are of one job alone. */
const defaultSmallCount = 64;

/** A mount's image. */
export interface MountImage {
  readonly path: string;
  readonly kind: "folder" | "file";
}

/** True if `mkfs.ext4` is here. */
export async function hasMkfs(): Promise<boolean> {
  try {
    await runTool("mkfs.ext4", ["-V"]);
    return true;
  } catch {
    return false;
  }
}

/** Makes an empty ext4 at `path` that holds `sizeMib`; it takes space only as it is written. */
export async function makeScratch(path: string, sizeMib: number): Promise<void> {
  await allocate(path, sizeMib * mib);
  await mkfs(path, ["-m", "0", "-i", "8192"]);
}

/**
 * The image of a file or folder of the host, built into `folder` on the first call for each
 * state of the source (paths, sizes, times, modes; of a small file its content and mode). Of
 * small files the newest `smallCount` images are kept. Throws when the source is not there.
 */
export async function mountImage(
  folder: string,
  hostPath: string,
  smallCount = defaultSmallCount,
): Promise<MountImage> {
  const source = await realpath(hostPath);
  const info = await lstat(source);
  const isSmall = info.isFile() && info.size <= smallBytes;
  const survey = await surveyOf(source);
  const hash = isSmall ? await contentHash(source, info.mode) : survey.hash;
  const name = `${isSmall ? smallPrefix : ""}${hash.digest("hex").slice(0, 32)}.ext4`;
  const image = { path: join(folder, name), kind: survey.kind };
  if (await exists(image.path)) return image;
  await once(image.path, () => build(folder, source, survey, image));
  if (isSmall) await dropSmall(folder, name, smallCount);
  return image;
}

async function contentHash(path: string, mode: number): Promise<ReturnType<typeof createHash>> {
  const head = JSON.stringify([imageForm, smallPrefix, mode]);
  return createHash("sha256")
    .update(head)
    .update(await readFile(path));
}

/** Removes the oldest images of small files. A guest that has one open keeps it until its end. */
async function dropSmall(folder: string, newest: string, count: number): Promise<void> {
  const names = (await readdir(folder)).filter((name) => name.startsWith(smallPrefix));
  const ages = names
    .filter((name) => name !== newest)
    .map(async (name) => {
      // Another process may have removed it meanwhile.
      const info = await lstat(join(folder, name)).catch(() => undefined);
      return { name, madeMs: info?.mtimeMs ?? 0 };
    });
  const others = (await Promise.all(ages)).sort((a, b) => b.madeMs - a.madeMs);
  for (const { name } of others.slice(count - 1)) await rm(join(folder, name), { force: true });
}

/** Builds that run in this process; another process may build the same, and one of both stays. */
const building = new Map<string, Promise<void>>();

async function once(key: string, work: () => Promise<void>): Promise<void> {
  const running = building.get(key) ?? work().finally(() => building.delete(key));
  building.set(key, running);
  await running;
}

async function build(folder: string, source: string, survey: Survey, image: MountImage) {
  const draft = join(folder, `.${process.pid}.${randomBytes(6).toString("hex")}`);
  const tree = `${draft}.tree`;
  await mkdir(folder, { recursive: true });
  try {
    await allocate(draft, survey.bytes + survey.entries * 512 + 16 * mib);
    if (image.kind === "file") {
      await mkdir(tree, { mode: 0o755 });
      await copyFile(source, join(tree, "file"));
    }
    const from = image.kind === "file" ? tree : source;
    await mkfs(draft, ["-m", "0", "-N", String(survey.entries + 64), "-d", from]);
    await rename(draft, image.path);
  } finally {
    await rm(tree, { recursive: true, force: true });
    await rm(draft, { force: true });
  }
}

interface Survey {
  readonly kind: "folder" | "file";
  readonly hash: ReturnType<typeof createHash>;
  bytes: number;
  entries: number;
}

async function surveyOf(source: string): Promise<Survey> {
  const kind = (await lstat(source)).isDirectory() ? "folder" : "file";
  const survey: Survey = { kind, hash: createHash("sha256"), bytes: 0, entries: 0 };
  survey.hash.update(JSON.stringify([imageForm, source]));
  await visit(source, survey);
  return survey;
}

async function visit(path: string, survey: Survey): Promise<void> {
  const info = await lstat(path);
  survey.hash.update(JSON.stringify([path, info.size, info.mtimeMs, info.mode]));
  survey.entries++;
  // Whole blocks, and one more for the entry's own.
  survey.bytes += Math.ceil(info.size / 4096) * 4096 + 4096;
  if (!info.isDirectory()) return;
  for (const name of (await readdir(path)).sort()) await visit(join(path, name), survey);
}

async function allocate(path: string, bytes: number): Promise<void> {
  const file = await open(path, "wx", 0o600);
  try {
    await file.truncate(bytes);
  } finally {
    await file.close();
  }
}

async function mkfs(path: string, options: string[]): Promise<void> {
  const args = ["-q", "-F", "-b", "4096", ...ext4Features, ...options, path];
  await runTool("mkfs.ext4", args, { timeoutMs: mkfsLimitMs });
}

async function exists(path: string): Promise<boolean> {
  try {
    await lstat(path);
    return true;
  } catch {
    return false;
  }
}
