/**
 * Builds the package that is published into `dist/`: bundled modules, their
 * declarations, a package.json of its own. `npm pack ./sdk/ts/dist` packs it.
 * In the monorepo other packages import the sources; npm does not apply
 * `publishConfig.exports` when packing, hence the second package.json.
 */
import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { build } from "esbuild";

const here = import.meta.dirname;
const dist = join(here, "dist");
const root = join(here, "..", "..");

interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly description: string;
  readonly license: string;
  readonly dependencies: Record<string, string>;
}

async function bundle(): Promise<void> {
  await build({
    entryPoints: ["index", "node", "raw"].map((name) => join(here, "src", `${name}.ts`)),
    outdir: dist,
    bundle: true,
    splitting: true,
    format: "esm",
    target: "es2022",
    // Dependencies stay outside, so that a program holds one copy of each.
    packages: "external",
    platform: "neutral",
    external: ["node:*"],
    chunkNames: "chunks/[hash]",
    sourcemap: false,
    logLevel: "warning",
  });
}

function declare(): void {
  const tsc = join(root, "node_modules", ".bin", "tsc");
  execFileSync(tsc, ["-p", join(here, "tsconfig.build.json")], { stdio: "inherit" });
  cpSync(join(here, "src", "gen"), join(dist, "types", "gen"), {
    recursive: true,
    filter: (path) => !path.endsWith(".js"),
  });
}

function writeManifest(): void {
  const text = readFileSync(join(here, "package.json"), "utf8");
  const { name, version, description, license, dependencies } = JSON.parse(text) as Manifest;
  const entry = (file: string) => ({ types: `./types/${file}.d.ts`, default: `./${file}.js` });
  const manifest = {
    name,
    version,
    description,
    license,
    type: "module",
    sideEffects: false,
    engines: { node: ">=20.19" },
    exports: {
      ".": entry("index"),
      "./node": entry("node"),
      "./raw": entry("raw"),
      "./package.json": "./package.json",
    },
    types: "./types/index.d.ts",
    dependencies,
  };
  writeFileSync(join(dist, "package.json"), `${JSON.stringify(manifest, null, 2)}\n`);
  cpSync(join(here, "README.md"), join(dist, "README.md"));
}

rmSync(dist, { recursive: true, force: true });
mkdirSync(dist);
await bundle();
declare();
writeManifest();
