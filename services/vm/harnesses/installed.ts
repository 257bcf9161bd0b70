/** Finds the programs of agents on this host; getting them is left to `npm run setup`. */
import { access, constants, readdir } from "node:fs/promises";
import { join } from "node:path";
import { DevmeshError } from "@devmesh/mesh/errors";

/** An agent's programs. */
export interface InstalledHarness {
  /** The folder with its programs. */
  readonly folder: string;
  /** As its folder names it. */
  readonly version: string;
}

/**
 * The newest `harness-NAME-VERSION/bin/NAME` in a folder. Throws UNAVAILABLE
 * with the remedy where there is none.
 */
export async function findInstalled(harnessDir: string, name: string): Promise<InstalledHarness> {
  const prefix = `harness-${name}-`;
  const versions = (await entriesOf(harnessDir))
    .filter((entry) => entry.startsWith(prefix) && !entry.endsWith(".tmp"))
    .map((entry) => entry.slice(prefix.length))
    .sort((a, b) => b.localeCompare(a, "en", { numeric: true }));
  for (const version of versions) {
    const folder = join(harnessDir, `${prefix}${version}`, "bin");
    if (await isExecutable(join(folder, name))) return { folder, version };
  }
  throw new DevmeshError(
    "UNAVAILABLE",
    `${name} is not on this host: run \`npm run setup -- ${name}\`, or set HARNESS_DIR`,
    { metadata: { part: name } },
  );
}

async function entriesOf(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch {
    // No folder, no agents: the refusal says what to do.
    return [];
  }
}

async function isExecutable(path: string): Promise<boolean> {
  try {
    await access(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
