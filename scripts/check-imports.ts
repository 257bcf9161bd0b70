/**
 * Holds the tree to its shape: who may import whom, that nobody imports itself
 * by way of others, and how long a file may be. The rules are the table below; docs/architecture.md tells their reasons.
 */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";

const root = join(import.meta.dirname, "..");

/** Lines above which a source file's header must say why. */
const maxLines = 400;

/** The word with which a header gives the reason. */
const longFileMark = /Long because/;

interface Room {
  /** Files below this folder … */
  readonly folder: string;
  /** … may import these workspace packages and nothing else of ours. */
  readonly mayImport: readonly string[];
  /** Folders outside of it that it may reach into. */
  readonly mayReach?: readonly string[];
  /** Single files with further rights, each with its reason. */
  readonly doors?: Readonly<Record<string, readonly string[]>>;
}

const rooms: readonly Room[] = [
  { folder: "services/mesh", mayImport: ["@devmesh/gen"] },
  { folder: "services/api", mayImport: ["@devmesh/gen", "@devmesh/mesh"] },
  { folder: "services/mcp", mayImport: ["@devmesh/gen", "@devmesh/mesh"] },
  { folder: "services/inference", mayImport: ["@devmesh/gen", "@devmesh/mesh"] },
  { folder: "services/vm", mayImport: ["@devmesh/gen", "@devmesh/mesh"] },
  // The embedded platform is made of all services: it is their composition root.
  {
    folder: "services/up",
    mayImport: [
      "@devmesh/mesh",
      "@devmesh/api",
      "@devmesh/mcp",
      "@devmesh/inference",
      "@devmesh/vm",
    ],
  },
  { folder: "sdk/ts", mayImport: [] },
  { folder: "web", mayImport: ["@devmesh/sdk"] },
  { folder: "agents", mayImport: ["@devmesh/sdk"] },
  {
    folder: "cli",
    mayImport: ["@devmesh/sdk"],
    // `up` and `serve` are the platform itself; they load it by this one door.
    doors: { "cli/src/platform-door.ts": ["@devmesh/up"] },
  },
  { folder: "chaos", mayImport: ["@devmesh/sdk"], mayReach: ["scripts/parts", "deploy/guest"] },
  // It breaks out of the very sandboxes that jobs run in.
  {
    folder: "attack",
    mayImport: ["@devmesh/gen", "@devmesh/mesh", "@devmesh/vm"],
    mayReach: ["scripts/parts", "deploy/guest"],
  },
];

/** Words of the product that the shared runtime must not know. */
const productNouns = /\b(jobs?|sandbox(es)?|runners?|agents?|embeddings?|documents?)\b/i;

/** Implementations are chosen in composition roots only: others know the port. */
const implementation =
  /-store\.(sqlite|postgres|memory|fs)\.ts$|\/drivers\/(process|docker|qemu|firecracker)\//;
const compositionRoots = /(^|\/)(app|stores|providers)\.ts$|\.suite(\.\w+)?\.ts$|\/suite\//;

const problems: string[] = [];
const sources = execFileSync("git", ["ls-files", "-co", "--exclude-standard"], {
  cwd: root,
  encoding: "utf8",
})
  .split("\n")
  .filter((path) => /\.(ts|tsx|js|mjs)$/.test(path))
  .filter((path) => !/^gen\/|\/src\/gen\/|^examples\//.test(path));

/** What each file imports by a relative path. */
const imported = new Map<string, readonly string[]>();
for (const path of sources) {
  const text = readFileSync(join(root, path), "utf8");
  checkLength(path, text);
  const room = rooms.find(({ folder }) => path.startsWith(`${folder}/`));
  const specifiers = importsOf(text);
  const near = specifiers.filter((specifier) => specifier.startsWith("."));
  imported.set(
    path,
    // The SDK names its files as they are once they are built.
    near.map((name) => relative(root, resolve(root, dirname(path), name.replace(/\.js$/, ".ts")))),
  );
  for (const specifier of specifiers) {
    if (room !== undefined) checkRoom(room, path, specifier);
    checkPort(path, specifier);
  }
  if (path.startsWith("services/mesh/")) checkNouns(path, text);
}
checkCircles();
for (const problem of problems) console.error(problem);
process.exitCode = problems.length === 0 ? 0 : 1;

function importsOf(text: string): string[] {
  const pattern =
    /(?:^|\n)\s*(?:import|export)\b[^;"']*?\bfrom\s*"([^"]+)"|import\(\s*"([^"]+)"\s*\)|(?:^|\n)import\s+"([^"]+)"/g;
  return [...text.matchAll(pattern)].map((m) => m[1] ?? m[2] ?? m[3] ?? "");
}

function checkRoom(room: Room, path: string, specifier: string): void {
  if (specifier.startsWith(".")) {
    const target = relative(root, resolve(root, dirname(path), specifier));
    const folders = [room.folder, ...(room.mayReach ?? [])];
    if (!folders.some((folder) => target.startsWith(`${folder}/`))) {
      problems.push(`${path}: imports ${specifier}, which leaves ${room.folder}`);
    }
    return;
  }
  if (!specifier.startsWith("@devmesh/")) return;
  const name = specifier.split("/").slice(0, 2).join("/");
  const allowed = [...room.mayImport, ...(room.doors?.[path] ?? []), packageOf(room.folder)];
  if (!allowed.includes(name)) problems.push(`${path}: may not import ${name}`);
}

function packageOf(folder: string): string {
  return folder === "sdk/ts" ? "@devmesh/sdk" : `@devmesh/${folder.split("/").at(-1)}`;
}

function checkPort(path: string, specifier: string): void {
  if (!specifier.startsWith(".") || compositionRoots.test(path)) return;
  if (/^(tests|deploy|bench)\//.test(path)) return;
  const target = relative(root, resolve(root, dirname(path), specifier));
  const found = implementation.exec(target);
  if (found === null) return;
  // An implementation's own files know each other.
  if (dirname(path).startsWith(dirname(target)) || dirname(target) === dirname(path)) return;
  problems.push(`${path}: imports ${specifier}; only a composition root picks an implementation`);
}

/** Depth first: whoever is met again while it is still open closes a circle. */
function checkCircles(): void {
  const done = new Set<string>();
  const open: string[] = [];
  const visit = (path: string) => {
    if (done.has(path)) return;
    const at = open.indexOf(path);
    if (at >= 0) {
      problems.push(`${[...open.slice(at), path].join(" -> ")}: imports itself`);
      return;
    }
    open.push(path);
    for (const next of imported.get(path) ?? []) visit(next);
    open.pop();
    done.add(path);
  };
  // Tests and their fakes may be cut into files that know each other.
  for (const path of sources) if (!path.startsWith("tests/")) visit(path);
}

function checkNouns(path: string, text: string): void {
  const code = text.replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, "");
  const found = productNouns.exec(code);
  if (found !== null) problems.push(`${path}: knows the product's noun "${found[0]}"`);
}

function checkLength(path: string, text: string): void {
  const lines = text.split("\n").length;
  if (lines > maxLines && !longFileMark.test(text.slice(0, 1000))) {
    problems.push(`${path}: has ${lines} lines; its header must say why ("Long because …")`);
  }
}
