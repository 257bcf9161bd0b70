/**
 * Debian packages: installs what is missing where that is allowed, and finds the binaries
 * they bring. Which package a part needs is said by the part.
 */
import { setTimeout as delay } from "node:timers/promises";
import { withLock } from "./cache.ts";
import {
  attempt,
  type Found,
  here,
  type Log,
  messageOf,
  missing,
  type PartOptions,
} from "./part.ts";
import { findIn, findOnPath, isRoot, run } from "./run.ts";

const installLimitMs = 900_000;
const updateLimitMs = 180_000;
const queryLimitMs = 30_000;
const lockWaitMs = 300_000;
const lockPollMs = 500;

/** Waits for other users of dpkg instead of failing. */
const aptOptions = ["-o", `DPkg::Lock::Timeout=${lockWaitMs / 1000}`];
const quiet = { DEBIAN_FRONTEND: "noninteractive", LC_ALL: "C" };

/**
 * Makes sure that all these packages are installed. Only what is missing is installed, and the
 * package lists are fetched only when they do not lead to it. Parallel callers wait in line.
 */
export async function installDebian(
  packages: string[],
  { log }: PartOptions = {},
): Promise<Found<void>> {
  const wanted = await notInstalled(packages);
  if (wanted.length === 0) return here(undefined);
  const remedy = `as root: apt-get install ${wanted.join(" ")}`;
  if (!isRoot()) return missing(`not installed: ${wanted.join(" ")}`, remedy);
  if (!findOnPath("apt-get")) return missing("apt-get is not on PATH", remedy);
  return await attempt(remedy, () =>
    withLock("apt", installLimitMs, async () => {
      const left = await notInstalled(packages);
      if (left.length > 0) await install(left, log);
    }),
  );
}

/**
 * The path of a binary: on PATH, or in the folders where Debian puts what only administrators
 * run, after installing its package when it is in none of them.
 */
export async function ensureBinary(
  name: string,
  packages: string[],
  options: PartOptions = {},
): Promise<Found<string>> {
  const there = findBinary(name);
  if (there) return here(there);
  const installed = await installDebian(packages, options);
  if (!installed.ok) return missing(`${name}: ${installed.reason}`, installed.remedy);
  const path = findBinary(name);
  if (path) return here(path);
  return missing(`${packages.join(" ")} did not bring ${name}`, `put ${name} on PATH`);
}

/** The path of a binary on PATH or in the system's administrator folders, or `undefined`. */
export function findBinary(name: string): string | undefined {
  return findOnPath(name) ?? findIn(name, ["/usr/sbin", "/sbin"]);
}

/** Fetches the package lists. Throws when that fails. */
export async function updateLists(log?: Log): Promise<void> {
  log?.("apt-get update");
  await untilUnlocked(() =>
    run("apt-get", [...aptOptions, "update"], { timeoutMs: updateLimitMs, env: quiet }),
  );
}

async function install(packages: string[], log?: Log): Promise<void> {
  log?.(`apt-get install ${packages.join(" ")}`);
  const args = [...aptOptions, "install", "--yes", "--no-install-recommends", ...packages];
  const go = () =>
    untilUnlocked(() => run("apt-get", args, { timeoutMs: installLimitMs, env: quiet }));
  try {
    await go();
  } catch {
    // Missing or outdated lists are the usual cause; a second failure is the caller's to see.
    await updateLists(log);
    await go();
  }
}

/** apt waits by itself only for dpkg's lock, not for those of its lists and archives. */
async function untilUnlocked(work: () => Promise<string>): Promise<void> {
  const deadline = Date.now() + lockWaitMs;
  for (;;) {
    try {
      await work();
      return;
    } catch (error: unknown) {
      const locked = /Could not get lock|Unable to lock/.test(messageOf(error));
      if (!locked || Date.now() > deadline) throw error;
    }
    await delay(lockPollMs);
  }
}

async function notInstalled(packages: string[]): Promise<string[]> {
  const states = await Promise.all(packages.map(isInstalled));
  return packages.filter((_, index) => !states[index]);
}

async function isInstalled(name: string): Promise<boolean> {
  try {
    // biome-ignore lint/suspicious/noTemplateCurlyInString: dpkg-query's own format.
    const format = "${db:Status-Status}";
    const args = ["--show", `--showformat=${format}`, name];
    return (await run("dpkg-query", args, { timeoutMs: queryLimitMs })) === "installed";
  } catch {
    return false;
  }
}
