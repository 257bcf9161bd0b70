/**
 * Bundles the agent into one file that needs nothing but Node. Run as a
 * program it prints the bundle's path.
 */
import { createHash } from "node:crypto";
import { mkdir, readFile, rename, stat, writeFile } from "node:fs/promises";
import { join, relative, resolve } from "node:path";
import { build, version } from "esbuild";

const folder = import.meta.dirname;
const root = resolve(folder, "../..");
const target = join(folder, "dist", "coder.mjs");
const receipt = join(folder, "dist", "coder.inputs.json");

/** SHA-256 of every input by its path relative to the repo, of the bundle, and the builder's version. */
interface Receipt {
  readonly builder: string;
  readonly output: string;
  readonly inputs: Readonly<Record<string, string>>;
}

/**
 * The path of the bundle, made anew only if an input, the bundle itself or the
 * builder changed. May run several times at once. Throws esbuild's error.
 */
export async function buildCoder(): Promise<string> {
  const known = await readReceipt();
  if (known !== undefined && (await isFresh(known))) return target;
  const result = await build({
    entryPoints: [join(folder, "src", "main.ts")],
    absWorkingDir: root,
    bundle: true,
    platform: "node",
    target: "node24",
    format: "esm",
    charset: "utf8",
    legalComments: "inline",
    outfile: target,
    metafile: true,
    write: false,
    logLevel: "silent",
  });
  const bundle = result.outputFiles[0]?.contents ?? new Uint8Array();
  const inputs: Record<string, string> = {};
  for (const path of Object.keys(result.metafile.inputs).sort()) {
    inputs[path] = await hashOf(join(root, path));
  }
  const made: Receipt = { builder: builderOf(), output: sha256(bundle), inputs };
  await mkdir(join(folder, "dist"), { recursive: true });
  await replace(target, bundle);
  await replace(receipt, `${JSON.stringify(made, null, 2)}\n`);
  return target;
}

function builderOf(): string {
  return `esbuild ${version}`;
}

async function readReceipt(): Promise<Receipt | undefined> {
  try {
    return JSON.parse(await readFile(receipt, "utf8")) as Receipt;
  } catch {
    // None yet, or cut off: build.
    return undefined;
  }
}

async function isFresh({ builder, output, inputs }: Receipt): Promise<boolean> {
  if (builder !== builderOf()) return false;
  try {
    if ((await hashOf(target)) !== output) return false;
    for (const [path, hash] of Object.entries(inputs)) {
      if ((await hashOf(join(root, path))) !== hash) return false;
    }
    return true;
  } catch {
    // A file is gone: build.
    return false;
  }
}

async function hashOf(path: string): Promise<string> {
  return sha256(await readFile(path));
}

function sha256(content: Uint8Array): string {
  return createHash("sha256").update(content).digest("hex");
}

/** Readers see the old file or the new one, never half of one. */
async function replace(path: string, content: string | Uint8Array): Promise<void> {
  const fresh = `${path}.${process.pid}.${crypto.randomUUID()}`;
  await writeFile(fresh, content);
  await rename(fresh, path);
}

if (import.meta.main) {
  const path = await buildCoder();
  console.log(`${relative(process.cwd(), path)} ${(await stat(path)).size}`);
}
