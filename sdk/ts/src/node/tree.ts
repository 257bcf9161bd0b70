/** Owns walking over a folder in one fixed order, and the rule that links stay inside it. */
import type { Dirent, Stats } from "node:fs";
import { lstat, readdir, readlink, realpath, stat } from "node:fs/promises";
import { isAbsolute, join, relative, resolve, sep } from "node:path";
import { IgnoreRules } from "./ignore-rules.ts";

/** A folder that cannot be used as it is; names the path. */
export class WorkspaceError extends Error {
  override readonly name = "WorkspaceError";
  /** The path that is to blame, as it was given or relative to the folder. */
  readonly path: string;

  /** `message` tells what is wrong and what to do. */
  constructor(path: string, message: string, options?: { readonly cause?: unknown }) {
    super(message, options);
    this.path = path;
  }
}

/** One thing below a folder. */
export interface TreeEntry {
  /** Relative to the folder, with `/`. */
  readonly path: string;
  /** Absolute. */
  readonly file: string;
  readonly kind: "file" | "folder" | "link" | "other";
}

/** A thing that was left out, and why. */
export interface TreeSkip {
  readonly path: string;
  readonly reason: "vcs" | "dependencies" | "ignored";
}

/** How to walk. */
export interface WalkOptions {
  /** False: do not look at `.gitignore`. Default: true. */
  readonly gitignore?: boolean;
  /** True: leave out `node_modules` even where nothing ignores it. Default: false. */
  readonly skipDependencies?: boolean;
  readonly signal?: AbortSignal;
  /** Told of everything that is left out. */
  readonly onSkip?: (skip: TreeSkip) => void;
}

const vcsNames: ReadonlySet<string> = new Set([".git", ".hg", ".svn", ".jj"]);

/** Refuses what is not a folder; answers its real path. */
export async function openFolder(folder: string): Promise<string> {
  let info: Stats;
  try {
    info = await stat(folder);
  } catch (error) {
    throw new WorkspaceError(folder, `there is no folder ${folder}`, { cause: error });
  }
  if (!info.isDirectory()) throw new WorkspaceError(folder, `${folder} is not a folder`);
  return realpath(folder);
}

/**
 * Everything below a folder, sorted by name, a folder before what it holds;
 * links are told, not followed. Version control's own folders are left out.
 */
export async function* walkTree(
  root: string,
  options: WalkOptions = {},
): AsyncGenerator<TreeEntry, void, undefined> {
  const rules = options.gitignore === false ? undefined : IgnoreRules.above(root);
  yield* walkFolder(root, root, rules, options);
}

async function* walkFolder(
  root: string,
  folder: string,
  outer: IgnoreRules | undefined,
  options: WalkOptions,
): AsyncGenerator<TreeEntry, void, undefined> {
  const rules = outer?.enter(folder);
  const entries = await readdir(folder, { withFileTypes: true });
  entries.sort((a, b) => (a.name < b.name ? -1 : 1));
  for (const entry of entries) {
    options.signal?.throwIfAborted();
    const file = join(folder, entry.name);
    const path = relative(root, file).split(sep).join("/");
    const kind = kindOf(entry);
    const reason = skipReason(entry.name, file, kind, rules, options);
    if (reason !== undefined) {
      options.onSkip?.({ path, reason });
      continue;
    }
    yield { path, file, kind };
    if (kind === "folder") yield* walkFolder(root, file, rules, options);
  }
}

function skipReason(
  name: string,
  file: string,
  kind: TreeEntry["kind"],
  rules: IgnoreRules | undefined,
  options: WalkOptions,
): TreeSkip["reason"] | undefined {
  // In a worktree or submodule `.git` is a file.
  if (vcsNames.has(name)) return "vcs";
  if (options.skipDependencies && name === "node_modules") return "dependencies";
  return rules?.ignores(file, kind === "folder") ? "ignored" : undefined;
}

function kindOf(entry: Dirent): TreeEntry["kind"] {
  if (entry.isFile()) return "file";
  if (entry.isDirectory()) return "folder";
  return entry.isSymbolicLink() ? "link" : "other";
}

/** A link's target, or undefined if it leads out of the folder, now or once it is moved. */
export async function readInnerLink(root: string, file: string): Promise<string | undefined> {
  const target = await readlink(file);
  if (isAbsolute(target) || !isInside(root, resolve(file, "..", target))) return undefined;
  try {
    // The target may itself lead out, over a second link.
    return isInside(root, await realpath(file)) ? target : undefined;
  } catch {
    // A link to nothing: what it says is inside, and that is all it says.
    return target;
  }
}

/** True if the path is the folder or lies below it. Both absolute. */
export function isInside(root: string, path: string): boolean {
  return path === root || path.startsWith(root.endsWith(sep) ? root : `${root}${sep}`);
}

/** True if nothing but real folders lies between a root and a path below it. */
export async function hasRealParents(root: string, path: string): Promise<boolean> {
  const parts = relative(root, path).split(sep).slice(0, -1);
  let folder = root;
  for (const part of parts) {
    folder = join(folder, part);
    try {
      if (!(await lstat(folder)).isDirectory()) return false;
    } catch {
      // It does not exist yet, so nothing below it does.
      return true;
    }
  }
  return true;
}
