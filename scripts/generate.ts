/**
 * Unpacks third-party protos from their packages and runs `buf generate`, for
 * the services (`gen/`) and for clients (`sdk/ts/src/gen`). `--check` fails if
 * what is committed differs from a fresh run.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";

const root = join(import.meta.dirname, "..");
const protos = join(root, ".cache", "protos");

/** Where each third-party proto is found inside an npm package of this repo. */
const fromNpm: Record<string, string> = {
  "grpc/health/v1/health.proto": "grpc-health-check/proto/health/v1/health.proto",
  "grpc/reflection/v1/reflection.proto":
    "@grpc/reflection/build/proto/grpc/reflection/v1/reflection.proto",
  "grpc/reflection/v1alpha/reflection.proto":
    "@grpc/reflection/build/proto/grpc/reflection/v1alpha/reflection.proto",
};

/** Google's own, out of a package too large to be a dependency for four files. */
const fromTarball = {
  package: "google-proto-files@6.0.1",
  paths: [
    "google/api/annotations.proto",
    "google/api/http.proto",
    "google/rpc/status.proto",
    "google/rpc/error_details.proto",
  ],
};

/** `buf/validate/validate.proto` is in no npm package: the Go module has it. */
const validate = {
  path: "buf/validate/validate.proto",
  goModule: "github.com/bufbuild/protovalidate@v1.2.2",
  sha256: "a1dc1163ebac930b3b070655b91f2bc78df8b4aea940021661fe5ec7904a7b88",
};

function unpackThirdParty(): void {
  for (const [path, source] of Object.entries(fromNpm)) {
    const target = join(protos, path);
    mkdirSync(dirname(target), { recursive: true });
    copyFileSync(join(root, "node_modules", source), target);
  }
  if (fromTarball.paths.some((path) => !existsSync(join(protos, path)))) unpackTarball();
  const target = join(protos, validate.path);
  if (existsSync(target) && sha256(target) === validate.sha256) return;
  mkdirSync(dirname(target), { recursive: true });
  fetchValidateFromGo(target);
  if (sha256(target) !== validate.sha256) {
    throw new Error(`${validate.path} has SHA-256 ${sha256(target)}, wanted ${validate.sha256}`);
  }
}

function unpackTarball(): void {
  const cwd = mkdtempSync(join(tmpdir(), "devmesh-protos-"));
  try {
    const args = ["pack", fromTarball.package, "--silent"];
    const tarball = execFileSync("npm", args, { cwd, encoding: "utf8" }).trim();
    const wanted = fromTarball.paths.map((path) => `package/${path}`);
    execFileSync("tar", ["-xzf", tarball, ...wanted], { cwd });
    for (const path of fromTarball.paths) {
      mkdirSync(dirname(join(protos, path)), { recursive: true });
      copyFileSync(join(cwd, "package", path), join(protos, path));
    }
  } finally {
    rmSync(cwd, { recursive: true, force: true });
  }
}

function fetchValidateFromGo(target: string): void {
  if (spawnSync("go", ["version"]).error !== undefined) {
    console.error(`${validate.path} comes out of a Go module: install Go (Debian: golang-go)`);
    process.exit(1);
  }
  const cwd = mkdtempSync(join(tmpdir(), "devmesh-protos-"));
  try {
    const answer = execFileSync("go", ["mod", "download", "-json", validate.goModule], {
      cwd,
      encoding: "utf8",
    });
    const { Dir } = JSON.parse(answer) as { Dir: string };
    copyFileSync(join(Dir, "proto", "protovalidate", validate.path), target);
  } finally {
    rmSync(cwd, { recursive: true, force: true });
  }
}

function sha256(path: string): string {
  return createHash("sha256").update(readFileSync(path)).digest("hex");
}

/** All generated files below a folder, as relative path to content. */
function snapshot(folder: string): Map<string, string> {
  const files = new Map<string, string>();
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || !/_pb\.(js|d\.ts)$/.test(entry.name)) continue;
    const path = join(entry.parentPath, entry.name);
    files.set(relative(folder, path), readFileSync(path, "utf8"));
  }
  return files;
}

/** What is generated where, and by which template. */
const outputs = [
  { folder: "gen", template: "buf.gen.yaml" },
  { folder: "sdk/ts/src/gen", template: "sdk/ts/buf.gen.yaml" },
];

function generate(out: string): void {
  for (const { template } of outputs) {
    execFileSync(
      join(root, "node_modules/.bin/buf"),
      ["generate", "--template", template, "--output", out],
      { cwd: root, stdio: "inherit" },
    );
  }
}

unpackThirdParty();
if (process.argv.includes("--check")) {
  const fresh = mkdtempSync(join(tmpdir(), "devmesh-gen-"));
  try {
    generate(fresh);
    const stale = outputs.flatMap(({ folder }) => {
      const wanted = snapshot(join(fresh, folder));
      const found = snapshot(join(root, folder));
      return [...new Set([...wanted.keys(), ...found.keys()])]
        .filter((path) => wanted.get(path) !== found.get(path))
        .map((path) => join(folder, path));
    });
    if (stale.length > 0) {
      console.error(`generated code is stale, run 'npm run generate': ${stale.join(", ")}`);
      process.exitCode = 1;
    }
  } finally {
    rmSync(fresh, { recursive: true, force: true });
  }
} else {
  for (const path of snapshot(join(root, "gen")).keys()) rmSync(join(root, "gen", path));
  generate(root);
}
