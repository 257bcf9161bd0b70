/**
 * Foreign coding agents out of their npm packages: no dependency of this repository, kept in the
 * cache folder where a runner looks for them. Which package is whose is left to each one's module.
 */
import { cp, mkdir, readdir, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { cached } from "./cache.ts";
import { attempt, type Found, missing, type PartOptions } from "./part.ts";
import { run } from "./run.ts";

/** Where an agent's programs are in the packages of one version. */
export interface AgentPackage {
  /** As `--with` takes it. */
  readonly name: string;
  readonly version: string;
  /** For each `platform-arch` the package, as npm takes it, and the folder of the installed one. */
  readonly platforms: Readonly<
    Record<string, { readonly package: string; readonly folder: string }>
  >;
  /** Paths in the package's folder and the names that the programs get. */
  readonly programs: Readonly<Record<string, string>>;
}

/** An agent that is here: `HARNESS_DIR` of a runner is the folder above `folder`. */
export interface InstalledAgent {
  readonly folder: string;
  readonly version: string;
}

const installLimitMs = 900_000;

/** The cached folder with the agent's programs in `bin`; installed on the first call. */
export async function ensureAgentPackage(
  agent: AgentPackage,
  options: PartOptions = {},
): Promise<Found<InstalledAgent>> {
  const platform = `${process.platform}-${process.arch}`;
  const source = agent.platforms[platform];
  if (source === undefined) {
    return missing(`${agent.name} has no package for ${platform}`, "use another host for it");
  }
  return await attempt("let npm reach a registry that has the package", async () => {
    const key = `harness-${agent.name}-${agent.version}-${platform}`;
    const folder = await cached(key, async (target) => {
      options.log?.(`fetching ${source.package} (some hundred megabytes, once)`);
      await install(agent, source, target);
    });
    return { folder, version: agent.version };
  });
}

async function install(
  agent: AgentPackage,
  source: { readonly package: string; readonly folder: string },
  target: string,
): Promise<void> {
  const work = join(target, "npm");
  await mkdir(work);
  await writeFile(join(work, "package.json"), '{ "private": true }\n');
  const flags = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
  await run("npm", ["install", ...flags, source.package], { cwd: work, timeoutMs: installLimitMs });
  const bin = join(target, "bin");
  await mkdir(bin);
  const packageFolder = join(work, "node_modules", source.folder);
  for (const [path, name] of Object.entries(agent.programs)) {
    await rename(await pathOf(packageFolder, path), join(bin, name));
  }
  for (const name of ["LICENSE", "NOTICE"]) {
    await cp(join(packageFolder, name), join(target, name)).catch(() => {
      // Not every package has one.
    });
  }
  await rm(work, { recursive: true, force: true });
}

/** A path whose part `*` is the only entry of its folder. */
async function pathOf(folder: string, path: string): Promise<string> {
  let found = folder;
  for (const part of path.split("/")) {
    if (part !== "*") {
      found = join(found, part);
      continue;
    }
    const [only, ...others] = await readdir(found);
    if (only === undefined || others.length > 0) throw new Error(`${found} has not one entry`);
    found = join(found, only);
  }
  return found;
}
