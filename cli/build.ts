/**
 * Builds the package that is published into `dist/`: `bin/devmesh.js` as it
 * is, `dist/main.js` bundled with the SDK, a package.json without
 * dependencies. `npm pack ./cli/dist` packs it.
 */
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { build } from "esbuild";

const here = import.meta.dirname;
const out = join(here, "dist");

interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly description: string;
  readonly license: string;
  readonly engines: Record<string, string>;
}

rmSync(out, { recursive: true, force: true });
mkdirSync(out);
await build({
  entryPoints: [join(here, "src", "main.ts")],
  outdir: join(out, "dist"),
  bundle: true,
  splitting: true,
  minify: true,
  keepNames: true,
  format: "esm",
  platform: "node",
  target: "node22",
  chunkNames: "[name]-[hash]",
  // Some dependencies are CommonJS and ask for Node's modules by `require`.
  banner: {
    js: 'import { createRequire as devmeshRequire } from "node:module"; const require = devmeshRequire(import.meta.url);',
  },
  logLevel: "warning",
});
cpSync(join(here, "bin"), join(out, "bin"), { recursive: true });
const text = readFileSync(join(here, "package.json"), "utf8");
const { name, version, description, license, engines } = JSON.parse(text) as Manifest;
const bin = { devmesh: "./bin/devmesh.js" };
const manifest = { name, version, description, license, type: "module", engines, bin };
writeFileSync(join(out, "package.json"), `${JSON.stringify(manifest, null, 2)}\n`);
