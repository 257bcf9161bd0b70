/**
 * A Docker engine: the one that answers already, or one of our own that all our processes share.
 * The base image for it is the business of `base-image.ts`.
 */
import { ensureBinary } from "./debian.ts";
import { engineAnswers } from "./docker-http.ts";
import { type DockerEngine, leaseEngine } from "./docker-lease.ts";
import { attempt, type Found, here, missing, type PartOptions } from "./part.ts";
import { isRoot } from "./run.ts";

export { ensureBaseImage } from "./base-image.ts";
export type { DockerEngine } from "./docker-lease.ts";

const systemSocket = "/var/run/docker.sock";

/**
 * Finds an engine at `DOCKER_HOST` or at the system's socket. Where none answers, root gets one
 * of our own (a second), which keeps its images and its log in the cache folder.
 */
export async function startDocker(options: PartOptions = {}): Promise<Found<DockerEngine>> {
  const running = await runningEngine();
  if (running) return here(running);
  const remedy = "start a Docker engine and point DOCKER_HOST at its Unix socket";
  if (!isRoot()) return missing("no Docker engine answers, and only root may start one", remedy);
  const needed = { dockerd: "docker.io", ip: "iproute2" };
  for (const [binary, debianPackage] of Object.entries(needed)) {
    const path = await ensureBinary(binary, [debianPackage], options);
    if (!path.ok) return path;
  }
  // One container driver of two needs it; without it, that one is skipped.
  await ensureBinary("runsc", ["runsc"], options);
  // Installing the package starts the system's engine on some machines.
  const installed = await runningEngine();
  if (installed) return here(installed);
  return await attempt(remedy, () => leaseEngine(options));
}

/** An engine that is not ours. Two on one host undo each other's firewall rules, so it comes first. */
export async function runningEngine(): Promise<DockerEngine | undefined> {
  const host = process.env.DOCKER_HOST ?? "";
  const named = host.startsWith("unix://") ? [host.slice("unix://".length)] : [];
  for (const socketPath of [...named, systemSocket]) {
    if (await engineAnswers(socketPath)) return { socketPath, stop: async () => {} };
  }
  return undefined;
}
