/**
 * The base system of our containers and VM guests: one root file system, built from Debian
 * packages and kept in the cache folder, and a Docker image of the same tree.
 */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { cached, withLock } from "./cache.ts";
import { ensureBinary } from "./debian.ts";
import { askEngine } from "./docker-http.ts";
import { attempt, type Found, type PartOptions } from "./part.ts";
import { run } from "./run.ts";

const REPOSITORY = "devmesh-base";
const BUILD_LIMIT_MS = 900_000;
const IMPORT_LIMIT_MS = 300_000;

/** Everything the tree depends on, but for the day's package versions. */
const RECIPE = ["--variant=minbase", "--include=ca-certificates,git,ripgrep", "bookworm"];

/** The root file system as a tar file, built on the first call (about half a minute). */
export async function ensureBaseRootfs(
  options: PartOptions = {},
): Promise<Found<{ tarPath: string }>> {
  const remedy = "install mmdebstrap and let it reach a Debian mirror";
  return await attempt(remedy, async () => {
    const recipe = createHash("sha256").update(RECIPE.join(" ")).digest("hex").slice(0, 12);
    const folder = await cached(`base-rootfs-${recipe}`, (target) => build(target, options));
    return { tarPath: join(folder, "rootfs.tar") };
  });
}

/**
 * Makes sure that the engine has the base image. `image` names it by the digest of its tree;
 * the tag `latest` is set to it as well.
 */
export async function ensureBaseImage(
  socketPath: string,
  options: PartOptions = {},
): Promise<Found<{ image: string }>> {
  const rootfs = await ensureBaseRootfs(options);
  if (!rootfs.ok) return rootfs;
  const { tarPath } = rootfs.value;
  return await attempt("look at the log of the Docker engine", async () => {
    const tag = (await readFile(`${tarPath}.sha256`, "utf8")).slice(0, 12);
    const image = `${REPOSITORY}:${tag}`;
    await withLock(`${REPOSITORY}-import`, IMPORT_LIMIT_MS, async () => {
      const { status } = await askEngine(socketPath, "GET", `/images/${image}/json`);
      if (status === 404) await importImage(socketPath, tag, tarPath, options);
    });
    const latest = `/images/${image}/tag?repo=${REPOSITORY}&tag=latest`;
    const { status, body } = await askEngine(socketPath, "POST", latest);
    if (status !== 201) throw new Error(`tagging ${image} gave ${status}: ${body}`);
    return { image };
  });
}

async function build(folder: string, options: PartOptions): Promise<void> {
  const mmdebstrap = await ensureBinary("mmdebstrap", ["mmdebstrap"], options);
  if (!mmdebstrap.ok) throw new Error(mmdebstrap.reason);
  options.log?.("building the base root file system (about half a minute)");
  const tarPath = join(folder, "rootfs.tar");
  await run(mmdebstrap.value, [...RECIPE, tarPath], { timeoutMs: BUILD_LIMIT_MS });
  const digest = createHash("sha256");
  await pipeline(createReadStream(tarPath), digest);
  await writeFile(`${tarPath}.sha256`, digest.digest("hex"));
}

async function importImage(
  socketPath: string,
  tag: string,
  tarPath: string,
  { log }: PartOptions,
): Promise<void> {
  log?.(`importing ${REPOSITORY}:${tag}`);
  const query = new URLSearchParams({ fromSrc: "-", repo: REPOSITORY, tag });
  query.append("changes", 'CMD ["/bin/sh"]');
  const { status, body } = await askEngine(socketPath, "POST", `/images/create?${query}`, {
    bodyPath: tarPath,
    timeoutMs: IMPORT_LIMIT_MS,
  });
  // The engine reports a failed import inside an answer that began as a success.
  if (status !== 200 || body.includes('"error"')) {
    throw new Error(`importing ${REPOSITORY}:${tag} gave ${status}: ${body}`);
  }
}
