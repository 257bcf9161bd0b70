/**
 * Changes as a patch that `git apply` takes: text as unified diffs, binary
 * files as git's own literals. Which changes there are is left to
 * `workspace-changes.ts`.
 */
import { isUtf8 } from "node:buffer";
import { createHash } from "node:crypto";
import { setImmediate as nextTurn } from "node:timers/promises";
import { formatPatch, structuredPatch } from "diff";
import { gitLiteral } from "./git-literal.ts";
import {
  type Archive,
  type FileChange,
  type FileFacts,
  readContents,
} from "./workspace-changes.ts";

/** Larger files are named only. */
const maxFileBytes = 1024 * 1024;

/** All contents of one patch together; files beyond are named only. */
const maxTotalBytes = 32 * 1024 * 1024;

/** A text that differs in more lines is replaced as a whole: looking closer takes too long. */
const maxEditLines = 2_000;

/** One side of a change, as git sees it. */
interface Side {
  readonly mode: string;
  readonly content: Buffer;
}

/** The patch from `before` (absent: nothing) to `after`; empty if git can tell no difference. */
export async function makeGitPatch(
  changes: readonly FileChange[],
  before: Archive | undefined,
  after: Archive,
  signal: AbortSignal,
): Promise<string> {
  const { taken, leftOut } = withinBudget(changes);
  const olds = await contentsOf(before, taken, (change) => change.before, signal);
  const news = await contentsOf(after, taken, (change) => change.after, signal);
  const parts: string[] = [];
  for (const change of taken) {
    signal.throwIfAborted();
    const old = sideOf(change.path, change.before, olds);
    const fresh = sideOf(change.path, change.after, news);
    parts.push(patchOf(change.path, old, fresh));
    // A large patch does not hold up the heartbeats.
    await nextTurn();
  }
  const body = parts.join("");
  if (body === "") return "";
  const notes = leftOut.map(({ path }) => `# too large for this patch: ${quoted(path)}\n`);
  return `${notes.join("")}${body}`;
}

function withinBudget(changes: readonly FileChange[]) {
  const taken: FileChange[] = [];
  const leftOut: FileChange[] = [];
  let total = 0;
  for (const change of changes) {
    const sizes = [change.before?.size ?? 0, change.after?.size ?? 0];
    const bytes = sizes.reduce((sum, size) => sum + size, 0);
    const fits = Math.max(...sizes) <= maxFileBytes && total + bytes <= maxTotalBytes;
    if (fits) total += bytes;
    (fits ? taken : leftOut).push(change);
  }
  return { taken, leftOut };
}

async function contentsOf(
  archive: Archive | undefined,
  changes: readonly FileChange[],
  side: (change: FileChange) => FileFacts | undefined,
  signal: AbortSignal,
): Promise<Map<string, Buffer>> {
  const wanted = new Set<string>();
  for (const change of changes) {
    const facts = side(change);
    if (facts?.type === "file") wanted.add(facts.sameAs || change.path);
  }
  return archive === undefined ? new Map() : readContents(archive, wanted, signal);
}

function sideOf(
  path: string,
  facts: FileFacts | undefined,
  contents: ReadonlyMap<string, Buffer>,
): Side | undefined {
  if (facts === undefined) return undefined;
  if (facts.type === "symlink") return { mode: "120000", content: Buffer.from(facts.target) };
  const mode = (facts.mode & 0o100) === 0 ? "100644" : "100755";
  return { mode, content: contents.get(facts.sameAs || path) ?? Buffer.alloc(0) };
}

function patchOf(path: string, old: Side | undefined, fresh: Side | undefined): string {
  const isOtherType = old && fresh && (old.mode === "120000") !== (fresh.mode === "120000");
  // Git knows no change of a file into a link: one goes, the other comes.
  if (isOtherType) return patchOf(path, old, undefined) + patchOf(path, undefined, fresh);
  const head: string[] = [];
  if (old === undefined) head.push(`new file mode ${fresh?.mode}`);
  else if (fresh === undefined) head.push(`deleted file mode ${old.mode}`);
  else if (old.mode !== fresh.mode) head.push(`old mode ${old.mode}`, `new mode ${fresh.mode}`);
  const before = old?.content ?? Buffer.alloc(0);
  const after = fresh?.content ?? Buffer.alloc(0);
  const body = before.equals(after) ? "" : changeOf(path, old, fresh);
  if (head.length === 0 && body === "") return "";
  return `${[`diff --git ${quoted(`a/${path}`)} ${quoted(`b/${path}`)}`, ...head].join("\n")}\n${body}`;
}

function changeOf(path: string, old: Side | undefined, fresh: Side | undefined): string {
  const before = old?.content ?? Buffer.alloc(0);
  const after = fresh?.content ?? Buffer.alloc(0);
  if (!isText(before) || !isText(after)) {
    const index = `index ${old ? blobId(before) : noBlob}..${fresh ? blobId(after) : noBlob}`;
    return `${index}\nGIT binary patch\n${gitLiteral(after)}\n`;
  }
  const from = old === undefined ? "/dev/null" : nameLine(`a/${path}`);
  const to = fresh === undefined ? "/dev/null" : nameLine(`b/${path}`);
  return `--- ${from}\n+++ ${to}\n${hunksOf(before.toString("utf8"), after.toString("utf8"))}`;
}

function hunksOf(before: string, after: string): string {
  const options = { context: 3, maxEditLength: maxEditLines };
  const patch = structuredPatch("a", "b", before, after, "", "", options);
  if (patch === undefined) return replacement(before, after);
  const text = formatPatch(patch);
  return text.slice(text.indexOf("\n@@ ") + 1);
}

/** One hunk that takes every old line away and puts every new one in. */
function replacement(before: string, after: string): string {
  const old = linesOf(before, "-");
  const fresh = linesOf(after, "+");
  const range = (count: number) => (count === 0 ? "0,0" : `1,${count}`);
  return `@@ -${range(old.count)} +${range(fresh.count)} @@\n${old.text}${fresh.text}`;
}

function linesOf(text: string, sign: string): { text: string; count: number } {
  if (text === "") return { text: "", count: 0 };
  const lines = text.split("\n");
  const isEnded = lines.at(-1) === "";
  if (isEnded) lines.pop();
  const marked = lines.map((line) => `${sign}${line}\n`).join("");
  return {
    text: isEnded ? marked : `${marked}\\ No newline at end of file\n`,
    count: lines.length,
  };
}

function isText(content: Buffer): boolean {
  return isUtf8(content) && !content.includes(0);
}

/** How git names a content. */
function blobId(content: Buffer): string {
  return createHash("sha1").update(`blob ${content.length}\0`).update(content).digest("hex");
}

const noBlob = "0".repeat(40);

/** A name behind `---` and `+++`: a tab ends one with white space in it. */
function nameLine(name: string): string {
  const text = quoted(name);
  return text === name && name.includes(" ") ? `${text}\t` : text;
}

/** The name as git quotes it: only where it must, bytes of UTF-8 as they are. */
function quoted(name: string): string {
  const escaped = name.replace(/["\\]|\p{Cc}/gu, (char) => {
    if (char === '"' || char === "\\") return `\\${char}`;
    const bytes = [...Buffer.from(char)];
    return bytes.map((byte) => `\\${byte.toString(8).padStart(3, "0")}`).join("");
  });
  return escaped === name ? name : `"${escaped}"`;
}
