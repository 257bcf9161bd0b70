/**
 * The base system of our containers and VM guests: one root file system, built from Debian
 * packages and kept in the cache folder, and a Docker image of the same tree.
 */
import type { Found, PartOptions } from "./part.ts";
import { type BuiltImage, ensureImage, ensureRootfs, type ImageRecipe } from "./system-image.ts";

/** What every sandbox has. */
export const baseRecipe: ImageRecipe = {
  repository: "devmesh-base",
  cacheKey: "base-rootfs",
  packages: ["--variant=minbase", "--include=ca-certificates,git,ripgrep", "bookworm"],
};

/** The root file system as a tar file, built on the first call (about half a minute). */
export function ensureBaseRootfs(options: PartOptions = {}): Promise<Found<{ tarPath: string }>> {
  return ensureRootfs(baseRecipe, options);
}

/**
 * Makes sure that the engine has the base image. `image` names it by the digest of its tree;
 * the tag `latest` is set to it as well.
 */
export function ensureBaseImage(
  socketPath: string,
  options: PartOptions = {},
): Promise<Found<BuiltImage>> {
  return ensureImage(socketPath, baseRecipe, options);
}
