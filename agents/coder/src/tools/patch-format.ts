/**
 * Owns reading patches: unified diffs as git writes them, and the form that
 * begins with `*** Begin Patch`. Applying them is left to `patch-lines.ts`.
 */
import { ArgumentError } from "./tool.ts";

/** One piece of a change: lines that are there, and those that shall be. */
export interface Hunk {
  /** Lines as they are now: context and what goes. */
  readonly old: readonly string[];
  /** Lines as they shall be: context and what comes. */
  readonly fresh: readonly string[];
  /** The line at which it stands, from 1; 0: not said. */
  readonly line: number;
  /** A line somewhere before it that says where to look. Empty: none. */
  readonly anchor: string;
  /** True: it stands at the file's end. */
  readonly atEnd: boolean;
  /** True: the last line has no line end, before and after. Undefined: as it is. */
  readonly noEnd?: { readonly old: boolean; readonly fresh: boolean };
}

/** What a patch does to one file. */
export type FilePatch =
  | {
      readonly kind: "add";
      readonly path: string;
      readonly text: string;
      readonly executable: boolean;
    }
  | { readonly kind: "delete"; readonly path: string; readonly hunks: readonly Hunk[] }
  | {
      readonly kind: "update";
      readonly path: string;
      /** Where the file goes; the same as `path` where it stays. */
      readonly to: string;
      readonly hunks: readonly Hunk[];
    };

/** Reads a patch of either form. Throws `ArgumentError` that says which line is wrong. */
export function parsePatch(text: string): FilePatch[] {
  const lines = withoutFence(text.replaceAll("\r\n", "\n")).split("\n");
  if (lines.at(-1) === "") lines.pop();
  const begin = lines.findIndex((line) => line.trim() === "*** Begin Patch");
  const patches = begin >= 0 ? new Enveloped(lines, begin + 1).read() : new Unified(lines).read();
  if (patches.length === 0) {
    throw new ArgumentError("patch: changes no file; begin with `*** Begin Patch` or `--- a/file`");
  }
  return patches;
}

function withoutFence(text: string): string {
  return /^\s*```[\w-]*\n([\s\S]*?)\n```\s*$/.exec(text)?.[1] ?? text;
}

/** `*** Begin Patch` … `*** End Patch`. */
class Enveloped {
  readonly #lines: readonly string[];
  #at: number;

  constructor(lines: readonly string[], at: number) {
    this.#lines = lines;
    this.#at = at;
  }

  read(): FilePatch[] {
    const patches: FilePatch[] = [];
    for (;;) {
      const line = this.#lines[this.#at];
      if (line === undefined) throw wrong(this.#at, "*** End Patch is missing: it may be cut off");
      if (line.trim() === "*** End Patch") return patches;
      const [, verb, path] = /^\*\*\* (Add|Delete|Update) File: (.+)$/.exec(line.trimEnd()) ?? [];
      if (path === undefined) {
        if (line.trim() !== "")
          throw wrong(this.#at, "wants *** Add File, Update File or Delete File");
        this.#at += 1;
        continue;
      }
      this.#at += 1;
      if (verb === "Add") patches.push(this.#add(path));
      else if (verb === "Delete") patches.push({ kind: "delete", path, hunks: [] });
      else patches.push(this.#update(path));
    }
  }

  #add(path: string): FilePatch {
    const text: string[] = [];
    for (let line = this.#next(); line !== undefined; line = this.#next()) {
      if (!line.startsWith("+")) throw wrong(this.#at, "lines of a new file begin with +");
      text.push(`${line.slice(1)}\n`);
      this.#at += 1;
    }
    return { kind: "add", path, text: text.join(""), executable: false };
  }

  #update(path: string): FilePatch {
    const to = /^\*\*\* Move to: (.+)$/.exec(this.#lines[this.#at]?.trimEnd() ?? "")?.[1];
    if (to !== undefined) this.#at += 1;
    const hunks: Hunk[] = [];
    while (this.#next() !== undefined) hunks.push(this.#hunk());
    if (hunks.length === 0 && to === undefined) throw wrong(this.#at, `${path} has no change`);
    return { kind: "update", path, to: to ?? path, hunks };
  }

  #hunk(): Hunk {
    let anchor = "";
    for (;;) {
      const found = /^@@ ?(.*)$/.exec(this.#next() ?? "");
      if (found === null) break;
      anchor = (found[1] ?? "").trimEnd() || anchor;
      this.#at += 1;
    }
    const old: string[] = [];
    const fresh: string[] = [];
    let atEnd = false;
    for (let line = this.#next(); line !== undefined; line = this.#next()) {
      if (line.startsWith("@@")) break;
      if (line.trim() === "*** End of File") {
        atEnd = true;
        this.#at += 1;
        break;
      }
      takeLine(line, this.#at, old, fresh);
      this.#at += 1;
    }
    if (old.length === 0 && fresh.length === 0) throw wrong(this.#at, "a change without lines");
    return { old, fresh, line: 0, anchor, atEnd };
  }

  /** The next line of the same file; undefined where another begins. */
  #next(): string | undefined {
    const line = this.#lines[this.#at];
    if (line === undefined) return undefined;
    const isOther = line.startsWith("*** ") && line.trim() !== "*** End of File";
    return isOther ? undefined : line;
  }
}

/** `--- a/file`, `+++ b/file`, `@@ -1,3 +1,4 @@`, with git's own lines before. */
class Unified {
  readonly #lines: readonly string[];
  #at = 0;

  constructor(lines: readonly string[]) {
    this.#lines = lines;
  }

  read(): FilePatch[] {
    const patches: FilePatch[] = [];
    let head: string[] = [];
    while (this.#at < this.#lines.length) {
      const line = this.#lines[this.#at] ?? "";
      if (line.startsWith("diff --git ")) {
        if (head.length > 0) pushIfWhole(patches, head);
        head = [line];
        this.#at += 1;
      } else if (line.startsWith("--- ") && this.#lines[this.#at + 1]?.startsWith("+++ ")) {
        patches.push(this.#file(head));
        head = [];
      } else if (line.startsWith("GIT binary patch") || line.startsWith("Binary files ")) {
        throw wrong(this.#at, "binary files cannot be patched");
      } else {
        if (line.startsWith("@@")) throw wrong(this.#at, "a change without `--- a/file` before it");
        if (head.length > 0) head.push(line);
        this.#at += 1;
      }
    }
    if (head.length > 0) pushIfWhole(patches, head);
    return patches;
  }

  #file(head: readonly string[]): FilePatch {
    const from = nameOf(this.#lines[this.#at] ?? "");
    const to = nameOf(this.#lines[this.#at + 1] ?? "");
    this.#at += 2;
    const hunks: Hunk[] = [];
    while (this.#lines[this.#at]?.startsWith("@@")) hunks.push(this.#hunk());
    if (from === undefined && to === undefined) throw wrong(this.#at, "both names are /dev/null");
    if (from === undefined) {
      const [hunk] = hunks;
      if (hunk === undefined || hunks.length > 1 || hunk.old.length > 0) {
        throw wrong(this.#at, "a new file wants one change that only adds lines");
      }
      const end = hunk.noEnd?.fresh === true ? "" : "\n";
      const executable = head.some((line) => /^new file mode 1007/.test(line));
      return { kind: "add", path: to ?? "", text: hunk.fresh.join("\n") + end, executable };
    }
    if (to === undefined) return { kind: "delete", path: from, hunks };
    if (hunks.length === 0) throw wrong(this.#at, `${from} has no change`);
    return { kind: "update", path: from, to, hunks };
  }

  #hunk(): Hunk {
    const at = this.#at;
    const range = /^@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@/.exec(this.#lines[at] ?? "");
    if (range === null) throw wrong(at, "wants `@@ -line,count +line,count @@`");
    const [oldCount, freshCount] = [Number(range[2] ?? 1), Number(range[4] ?? 1)];
    this.#at += 1;
    const old: string[] = [];
    const fresh: string[] = [];
    let noEnd: { old: boolean; fresh: boolean } | undefined;
    while (old.length < oldCount || fresh.length < freshCount) {
      const line = this.#lines[this.#at];
      if (line === undefined || line.startsWith("@@") || line.startsWith("diff --git ")) {
        throw wrong(
          at,
          `says ${oldCount} and ${freshCount} lines, but has ${old.length} and ${fresh.length}`,
        );
      }
      if (line.startsWith("\\")) noEnd = noted(noEnd, this.#lines[this.#at - 1] ?? "");
      else takeLine(line, this.#at, old, fresh);
      this.#at += 1;
    }
    if (this.#lines[this.#at]?.startsWith("\\")) {
      noEnd = noted(noEnd, this.#lines[this.#at - 1] ?? "");
      this.#at += 1;
    }
    const next = this.#lines[this.#at];
    if (
      old.length > oldCount ||
      fresh.length > freshCount ||
      /^[+-](?!-- |\+\+ )/.test(next ?? "")
    ) {
      throw wrong(at, `says ${oldCount} and ${freshCount} lines, but has more`);
    }
    return {
      old,
      fresh,
      line: Number(range[1]),
      anchor: "",
      atEnd: false,
      ...(noEnd && { noEnd }),
    };
  }
}

/** A line without an end is the last of the old text, of the new one, or of both. */
function noted(so: { old: boolean; fresh: boolean } | undefined, before: string) {
  const sign = before[0];
  return {
    old: so?.old === true || sign !== "+",
    fresh: so?.fresh === true || sign !== "-",
  };
}

/** Changes that only git's own lines tell: a rename, a removal of an empty file. */
function pushIfWhole(patches: FilePatch[], head: readonly string[]): void {
  const said = (name: string) =>
    head.find((line) => line.startsWith(`${name} `))?.slice(name.length + 1);
  const [from, to] = [said("rename from"), said("rename to")];
  if (from !== undefined && to !== undefined) {
    patches.push({ kind: "update", path: from, to, hunks: [] });
    return;
  }
  const path = /^diff --git a\/(.+) b\/\1$/.exec(head[0] ?? "")?.[1];
  if (path === undefined) return;
  if (said("deleted file mode") !== undefined) patches.push({ kind: "delete", path, hunks: [] });
  const mode = said("new file mode");
  if (mode !== undefined) {
    patches.push({ kind: "add", path, text: "", executable: mode.startsWith("1007") });
  }
}

function takeLine(line: string, at: number, old: string[], fresh: string[]): void {
  const text = line.slice(1);
  switch (line[0]) {
    case " ":
    case undefined:
      old.push(text);
      fresh.push(text);
      return;
    case "-":
      old.push(text);
      return;
    case "+":
      fresh.push(text);
      return;
    default:
      throw wrong(at, "lines of a change begin with a space, - or +");
  }
}

/** The name of a `---` or `+++` line; undefined for `/dev/null`. */
function nameOf(line: string): string | undefined {
  const name = line.slice(4).split("\t")[0]?.trimEnd() ?? "";
  const bare = /^"(.*)"$/.exec(name)?.[1]?.replaceAll(/\\(["\\])/g, "$1") ?? name;
  return bare === "/dev/null" ? undefined : bare.replace(/^[ab]\//, "");
}

function wrong(at: number, why: string): ArgumentError {
  return new ArgumentError(`patch, line ${at + 1}: ${why}`);
}
