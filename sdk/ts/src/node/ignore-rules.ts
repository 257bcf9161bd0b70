/**
 * Owns which paths git would leave out: the `.gitignore` files of the folder,
 * of its parents up to the repository's root, and `.git/info/exclude`.
 */
import { existsSync, readFileSync } from "node:fs";
import { dirname, join, relative, sep } from "node:path";
import ignore, { type Ignore } from "ignore";

interface Rules {
  /** The folder that the rules are relative to, absolute. */
  readonly base: string;
  readonly matcher: Ignore;
}

/** The rules that hold in a folder; deeper ones win over those above. */
export class IgnoreRules {
  readonly #layers: readonly Rules[];

  private constructor(layers: readonly Rules[]) {
    this.#layers = layers;
  }

  /** No rules at all. */
  static none(): IgnoreRules {
    return new IgnoreRules([]);
  }

  /** The rules that hold at `folder` by what lies above it. Its own file is added by `enter`. */
  static above(folder: string): IgnoreRules {
    const parents: string[] = [];
    let top = folder;
    while (!existsSync(join(top, ".git"))) {
      const parent = dirname(top);
      // Outside a repository the files above say nothing about this folder.
      if (parent === top) return IgnoreRules.none();
      top = parent;
      parents.unshift(parent);
    }
    const exclude = readRules(top, join(top, ".git", "info", "exclude"));
    const files = parents.map((parent) => readRules(parent, join(parent, ".gitignore")));
    const rules = new IgnoreRules([exclude, ...files].filter((layer) => layer !== undefined));
    // Who names an ignored folder wants what is in it.
    return folder !== top && rules.ignores(folder, true) ? IgnoreRules.none() : rules;
  }

  /** The rules inside `folder`, with those of its own `.gitignore`. */
  enter(folder: string): IgnoreRules {
    const own = readRules(folder, join(folder, ".gitignore"));
    return own === undefined ? this : new IgnoreRules([...this.#layers, own]);
  }

  /** True if git would leave the path out. */
  ignores(path: string, isFolder: boolean): boolean {
    for (const { base, matcher } of this.#layers.toReversed()) {
      const local = relative(base, path).split(sep).join("/");
      const { ignored, unignored } = matcher.test(isFolder ? `${local}/` : local);
      if (ignored) return true;
      if (unignored) return false;
    }
    return false;
  }
}

function readRules(base: string, file: string): Rules | undefined {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch {
    // No such file, or `.git` is a file (a worktree): there are no such rules.
    return undefined;
  }
  return { base, matcher: ignore({ allowRelativePaths: false }).add(text) };
}
