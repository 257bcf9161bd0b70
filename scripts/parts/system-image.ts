/**
 * System images by script: a root file system of Debian packages and some files of ours, kept
 * in the cache folder, and an engine's image of the same tree. Which there are is said by
 * their recipes.
 */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { cacheDir, cached, withLock } from "./cache.ts";
import { ensureBinary } from "./debian.ts";
import { askEngine } from "./docker-http.ts";
import { attempt, type Found, type PartOptions } from "./part.ts";
import { run } from "./run.ts";
import { tempDir } from "./temp-dir.ts";

/** How an image is made. */
export interface ImageRecipe {
  /** The image's name: `devmesh-base`. */
  readonly repository: string;
  /** The first part of the cached folder's name. */
  readonly cacheKey: string;
  /** Everything the tree depends on but for the day's package versions: mmdebstrap's arguments. */
  readonly packages: readonly string[];
  /** More arguments for mmdebstrap, for what `contents` names; `folder` is there until the end. */
  readonly hooks?: (folder: string) => Promise<readonly string[]>;
  /** Names what the hooks put in, with versions; it changes with them. */
  readonly contents?: string;
}

/** An image of an engine. */
export interface BuiltImage {
  /** By the digest of its tree: `devmesh-base:f645b1fd9c06`. */
  readonly image: string;
  /** The engine's id of it: `sha256:…`. */
  readonly id: string;
}

const buildLimitMs = 1_800_000;
const importLimitMs = 300_000;

/** The root file system as a tar file, built on the first call (half a minute and more). */
export async function ensureRootfs(
  recipe: ImageRecipe,
  options: PartOptions = {},
): Promise<Found<{ tarPath: string }>> {
  const remedy = "install mmdebstrap and let it reach a Debian mirror";
  return await attempt(remedy, async () => {
    const text = [...recipe.packages, ...(recipe.contents ? [recipe.contents] : [])].join(" ");
    const digest = createHash("sha256").update(text).digest("hex").slice(0, 12);
    const folder = await cached(`${recipe.cacheKey}-${digest}`, (target) =>
      build(recipe, target, options),
    );
    return { tarPath: join(folder, "rootfs.tar") };
  });
}

/**
 * Makes sure that the engine has the image, and sets the tag `latest` to it as well.
 */
export async function ensureImage(
  socketPath: string,
  recipe: ImageRecipe,
  options: PartOptions = {},
): Promise<Found<BuiltImage>> {
  const rootfs = await ensureRootfs(recipe, options);
  if (!rootfs.ok) return rootfs;
  const { tarPath } = rootfs.value;
  const { repository } = recipe;
  return await attempt("look at the log of the Docker engine", async () => {
    const tag = (await readFile(`${tarPath}.sha256`, "utf8")).slice(0, 12);
    const image = `${repository}:${tag}`;
    await withLock(`${repository}-import`, importLimitMs, async () => {
      const { status } = await askEngine(socketPath, "GET", `/images/${image}/json`);
      if (status === 404) await importImage(socketPath, image, tarPath, options);
    });
    const latest = `/images/${image}/tag?repo=${repository}&tag=latest`;
    const { status, body } = await askEngine(socketPath, "POST", latest);
    if (status !== 201) throw new Error(`tagging ${image} gave ${status}: ${body}`);
    const found = await askEngine(socketPath, "GET", `/images/${image}/json`);
    const { Id: id } = JSON.parse(found.body) as { Id: string };
    return { image, id };
  });
}

async function build(recipe: ImageRecipe, folder: string, options: PartOptions): Promise<void> {
  const mmdebstrap = await ensureBinary("mmdebstrap", ["mmdebstrap"], options);
  if (!mmdebstrap.ok) throw new Error(mmdebstrap.reason);
  options.log?.(`building the root file system of ${recipe.repository} (a minute or so)`);
  const tarPath = join(folder, "rootfs.tar");
  const temp = await tempDir("image");
  try {
    const hooks = (await recipe.hooks?.(temp.path)) ?? [];
    await run(mmdebstrap.value, [...hooks, ...recipe.packages, tarPath], {
      timeoutMs: buildLimitMs,
    });
  } finally {
    await temp.remove();
  }
  const digest = createHash("sha256");
  await pipeline(createReadStream(tarPath), digest);
  await writeFile(`${tarPath}.sha256`, digest.digest("hex"));
}

async function importImage(
  socketPath: string,
  image: string,
  tarPath: string,
  { log }: PartOptions,
): Promise<void> {
  log?.(`importing ${image}`);
  const [repo = "", tag = ""] = image.split(":");
  const query = new URLSearchParams({ fromSrc: "-", repo, tag });
  query.append("changes", 'CMD ["/bin/sh"]');
  const { status, body } = await askEngine(socketPath, "POST", `/images/create?${query}`, {
    bodyPath: tarPath,
    timeoutMs: importLimitMs,
  });
  // The engine reports a failed import inside an answer that began as a success.
  if (status !== 200 || body.includes('"error"')) {
    throw new Error(`importing ${image} gave ${status}: ${body}`);
  }
}

/**
 * Records the image's id in `images.json` of the cache folder, whole or not at all; answers
 * what `DOCKER_IMAGE` can be set to so that no other image is taken for it.
 */
export async function recordImage({ repository }: ImageRecipe, id: string): Promise<string> {
  await withLock("images-json", importLimitMs, async () => {
    await mkdir(cacheDir(), { recursive: true });
    const path = join(cacheDir(), "images.json");
    const known = JSON.parse(await readFile(path, "utf8").catch(() => "{}")) as object;
    await writeFile(`${path}.new`, `${JSON.stringify({ ...known, [repository]: id }, null, 2)}\n`);
    await rename(`${path}.new`, path);
  });
  return `${repository}@${id}`;
}
