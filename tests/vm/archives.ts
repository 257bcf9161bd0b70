/** Work dirs for tests: random ones, as archives, and in a folder. */
import { createHash } from "node:crypto";
import {
  chmod,
  lstat,
  mkdir,
  readdir,
  readFile,
  readlink,
  symlink,
  writeFile,
} from "node:fs/promises";
import { dirname, join } from "node:path";
import fc from "fast-check";
import { padding, type TarEntry, tarEnd, tarHeader } from "../../services/vm/drivers/tar-format.ts";

/** A file, or a link if it has a target. */
export interface TestFile {
  readonly content: Buffer;
  readonly mode: number;
  readonly target?: string;
}

/** Files by path. */
export type Tree = ReadonlyMap<string, TestFile>;

/** A plain file of text. */
export function file(text: string | Buffer, mode = 0o644): TestFile {
  return { content: Buffer.from(text), mode };
}

/** A link. */
export function link(target: string): TestFile {
  return { content: Buffer.alloc(0), mode: 0o777, target };
}

/** A tar entry, for what a tree cannot say. */
export function entry(fields: Partial<TarEntry> & Pick<TarEntry, "type" | "path">): Buffer {
  return tarHeader({ target: "", mode: 0o644, size: 0, mtimeSeconds: 0, ...fields });
}

/** The header of what no archive may hold: `3` a device, `6` a pipe. */
export function special(type: "3" | "6", path: string): Buffer {
  const block = entry({ type: "file", path });
  block.write(type, 156, "latin1");
  block.fill(0x20, 148, 156);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
  return block;
}

/** The tree as a tar; `more` are further blocks before the end. */
export function tarOf(tree: Tree, ...more: Buffer[]): Buffer {
  const blocks = [...tree].flatMap(([path, { content, mode, target }]) => {
    if (target !== undefined) return [entry({ type: "symlink", path, target })];
    const header = entry({ type: "file", path, mode, size: content.length });
    return [header, content, padding(content.length)];
  });
  return Buffer.concat([...blocks, ...more, tarEnd()]);
}

/** Writes the tree into a folder. */
export async function writeTree(folder: string, tree: Tree): Promise<void> {
  for (const [path, { content, mode, target }] of tree) {
    const at = join(folder, path);
    await mkdir(dirname(at), { recursive: true });
    if (target === undefined) {
      await writeFile(at, content);
      await chmod(at, mode);
    } else await symlink(target, at);
  }
}

/** What git can tell of a folder: contents, targets, and who may be executed. */
export async function readTree(folder: string, below = ""): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for (const name of (await readdir(join(folder, below))).sort()) {
    const path = join(below, name);
    const at = join(folder, path);
    const stat = await lstat(at);
    if (stat.isDirectory()) {
      for (const [inner, facts] of await readTree(folder, path)) found.set(inner, facts);
    } else if (stat.isSymbolicLink()) found.set(path, `link ${await readlink(at)}`);
    else found.set(path, factsOf(await readFile(at), stat.mode));
  }
  return found;
}

/** The same of a tree. */
export function gitView(tree: Tree): Map<string, string> {
  const rows = [...tree].map(([path, { content, mode, target }]): [string, string] => [
    path,
    target === undefined ? factsOf(content, mode) : `link ${target}`,
  ]);
  return new Map(rows.sort(([a], [b]) => (a < b ? -1 : 1)));
}

function factsOf(content: Buffer, mode: number): string {
  const digest = createHash("sha256").update(content).digest("hex");
  return `${(mode & 0o100) === 0 ? "file" : "program"} ${digest}`;
}

const names = [
  ...["a", "b.txt", "dir/a", "dir/sub/b", "dir/sub/c d", "ünï/日本.txt", "emoji 🙂"],
  ...[
    'quo"te',
    "back\\slash",
    "tab\there",
    "new\nline",
    "-dash",
    " lead",
    "trail ",
    "a b/a b",
    "~",
  ],
];

const line = fc.constantFrom("", "a", "b", "one two", "ünï", "--- a", "+++ b", "@@ -1 +1 @@", "\\");
const text = fc
  .tuple(fc.array(line, { maxLength: 12 }), fc.constantFrom("\n", "\n", "\r\n"), fc.boolean())
  .map(([lines, end, ended]) => lines.join(end) + (ended && lines.length > 0 ? end : ""));
const content = fc.oneof(
  { arbitrary: text.map((made) => Buffer.from(made)), weight: 4 },
  { arbitrary: fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)), weight: 1 },
  {
    arbitrary: fc.constantFrom("a\rb\r", "\f\v", "\0", "x".repeat(200)).map((t) => Buffer.from(t)),
    weight: 1,
  },
);
const anyFile: fc.Arbitrary<TestFile> = fc.oneof(
  {
    arbitrary: fc.record({ content, mode: fc.constantFrom(0o644, 0o755, 0o600) }),
    weight: 6,
  },
  { arbitrary: fc.constantFrom("a", "b.txt", "no where").map(link), weight: 1 },
);

/** Two trees, the second an edit of the first. */
export const edits: fc.Arbitrary<{ readonly before: Tree; readonly after: Tree }> = fc
  .tuple(
    fc.dictionary(fc.constantFrom(...names), anyFile),
    fc.dictionary(fc.constantFrom(...names), fc.option(anyFile)),
  )
  .map(([first, changed]) => {
    const after = { ...first, ...changed };
    return { before: treeOf(first), after: treeOf(after) };
  });

/** Without what cannot lie beside each other: a file, and files below it. */
function treeOf(files: Readonly<Record<string, TestFile | null>>): Tree {
  const tree = new Map<string, TestFile>();
  for (const [path, made] of Object.entries(files).sort(([a], [b]) => (a < b ? -1 : 1))) {
    const isBelow = [...tree.keys()].some((other) => path.startsWith(`${other}/`));
    if (made !== null && !isBelow) tree.set(path, made);
  }
  return tree;
}
