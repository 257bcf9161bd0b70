/**
 * Bundles the runner of a joining host into `services/vm/dist/runner`: one file
 * that needs nothing but Node, and the files it reads beside it.
 */
import { copyFile, mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { build } from "esbuild";

const room = join(import.meta.dirname, "..");
const root = join(room, "..", "..");
const target = join(room, "dist", "runner");

/** Builds it; answers the folder. Throws esbuild's error. */
export async function buildRunner(): Promise<string> {
  const fresh = `${target}.${process.pid}`;
  await rm(fresh, { recursive: true, force: true });
  await mkdir(fresh, { recursive: true });
  await build({
    entryPoints: [join(room, "join", "main.ts")],
    absWorkingDir: root,
    bundle: true,
    minify: true,
    keepNames: true,
    platform: "node",
    target: "node24",
    format: "esm",
    outfile: join(fresh, "runner.mjs"),
    // Compiled helpers that ssh2 does without; the Docker client brings it along.
    external: ["cpu-features", "*.node"],
    // Some dependencies are CommonJS and ask for Node's modules by `require`.
    banner: {
      js: 'import { createRequire as devmeshRequire } from "node:module"; import { fileURLToPath as devmeshPath } from "node:url"; const require = devmeshRequire(import.meta.url); const __filename = devmeshPath(import.meta.url); const __dirname = devmeshPath(new URL(".", import.meta.url));',
    },
    logLevel: "warning",
  });
  await copyFile(join(room, "drivers", "resident", "resident.pl"), join(fresh, "resident.pl"));
  // Its version is read from the manifest beside it.
  const manifest = JSON.parse(
    await readFile(join(root, "services", "mesh", "package.json"), "utf8"),
  ) as { readonly version: string };
  const about = { name: "devmesh-runner", version: manifest.version, type: "module" };
  await writeFile(join(fresh, "package.json"), `${JSON.stringify(about)}\n`);
  await rm(target, { recursive: true, force: true });
  await rename(fresh, target);
  return target;
}

if (import.meta.main) console.log(await buildRunner());
