/**
 * The image that coding is done in: the base system with Node and npm, Python, make and the
 * small tools that tests and builds call for. Nothing in it is fetched when it runs.
 */
import { chmod, copyFile, mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { Found, PartOptions } from "../../scripts/parts/part.ts";
import { run } from "../../scripts/parts/run.ts";
import {
  type BuiltImage,
  ensureImage,
  type ImageRecipe,
} from "../../scripts/parts/system-image.ts";

/** Pinned, as it is fetched from a registry. */
const npmPackage = "npm@11.6.2";
const fetchLimitMs = 300_000;

const tools = [
  ...["ca-certificates", "git", "ripgrep"],
  ...["python3", "python3-venv", "python3-pytest", "make", "gcc", "libc6-dev"],
  ...["patch", "diffutils", "file", "jq", "less", "procps", "unzip", "xz-utils"],
];

/** What a coding agent finds beside its own program. */
export const coderRecipe: ImageRecipe = {
  repository: "devmesh-coder",
  cacheKey: "coder-rootfs",
  packages: ["--variant=minbase", `--include=${tools.join(",")}`, "bookworm"],
  contents: `node@${process.version} ${npmPackage}`,
  hooks: addNode,
};

/** Makes sure that the engine has it; a first build takes some minutes. */
export function ensureCoderImage(
  socketPath: string,
  options: PartOptions = {},
): Promise<Found<BuiltImage>> {
  return ensureImage(socketPath, coderRecipe, options);
}

/** The Node that runs this, which is that of the `node` package, and npm of its own package. */
async function addNode(folder: string): Promise<string[]> {
  const parts = join(folder, "parts");
  await mkdir(parts);
  await copyFile(process.execPath, join(parts, "node"));
  await chmod(join(parts, "node"), 0o755);
  await run(
    "npm",
    ["pack", "--silent", "--ignore-scripts", "--pack-destination", parts, npmPackage],
    {
      timeoutMs: fetchLimitMs,
      cwd: parts,
    },
  );
  const archive = join(parts, `${npmPackage.replace("@", "-")}.tgz`);
  const modules = "usr/local/lib/node_modules";
  const hook = (line: string) => `--customize-hook=${line}`;
  return [
    hook(`install -m 755 '${join(parts, "node")}' "$1/usr/local/bin/node"`),
    hook(`mkdir -p "$1/${modules}/npm"`),
    hook(`tar -xzf '${archive}' --strip-components=1 --no-same-owner -C "$1/${modules}/npm"`),
    hook(`ln -s ../lib/node_modules/npm/bin/npm-cli.js "$1/usr/local/bin/npm"`),
    hook(`ln -s ../lib/node_modules/npm/bin/npx-cli.js "$1/usr/local/bin/npx"`),
    hook(`chmod 755 "$1/${modules}/npm/bin/npm-cli.js" "$1/${modules}/npm/bin/npx-cli.js"`),
  ];
}
