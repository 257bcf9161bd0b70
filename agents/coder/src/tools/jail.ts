/**
 * Owns the rule that file tools stay inside the work dir, by names. That what is
 * opened then is still inside is left to `inside.ts`; programs are held by the
 * sandbox alone.
 */
import { lstat, realpath } from "node:fs/promises";
import { basename, dirname, join, relative, resolve, sep } from "node:path";
import { errorCode } from "../text.ts";
import { fileError } from "./file-error.ts";
import { ToolError } from "./tool.ts";

/** A path that was checked. It is opened by `inside.ts`, which trusts nothing that may have changed. */
export interface JailedPath {
  /** The work dir's real path. */
  readonly root: string;
  /** Absolute, without links down to the nearest parent that exists. The one to open. */
  readonly real: string;
  /** Relative to the work dir, with `/`; `.` for itself. The one to show. */
  readonly shown: string;
  /** False if nothing is there yet. */
  readonly exists: boolean;
}

/** One work dir. */
export class Jail {
  /** The work dir's real path. */
  readonly root: string;

  private constructor(root: string) {
    this.root = root;
  }

  /** Opens a work dir; throws the system's error if it is not there. */
  static async open(folder: string): Promise<Jail> {
    return new Jail(await realpath(folder));
  }

  /** Checks a path as the model wrote it: relative to the work dir, or absolute and inside it. */
  async resolve(path: string): Promise<JailedPath> {
    if (path === "") throw new ToolError("path: must not be empty; `.` is the work dir");
    if (path.includes("\0")) throw new ToolError("path: must not contain a NUL character");
    const wanted = resolve(this.root, path);
    if (!isInside(this.root, wanted)) throw outside(path);
    const { real, exists } = await realOf(wanted, path);
    if (!isInside(this.root, real)) throw outside(path);
    const shown = relative(this.root, wanted).split(sep).join("/");
    return { root: this.root, real, shown: shown === "" ? "." : shown, exists };
  }
}

/** True if the path is the folder or lies below it. Both absolute and normal. */
export function isInside(root: string, path: string): boolean {
  return path === root || path.startsWith(root.endsWith(sep) ? root : `${root}${sep}`);
}

/** The real path of the nearest parent that exists, with the rest behind it. */
async function realOf(wanted: string, path: string): Promise<{ real: string; exists: boolean }> {
  const missing: string[] = [];
  for (let at = wanted; ; at = dirname(at)) {
    try {
      return { real: join(await realpath(at), ...missing), exists: missing.length === 0 };
    } catch (error) {
      if (errorCode(error) !== "ENOENT") throw fileError(path, error);
    }
    // What is a link and yet has no real path would be created at the link's far end.
    if (await isLink(at)) throw new ToolError(`${path}: goes through a link that leads nowhere`);
    missing.unshift(basename(at));
  }
}

async function isLink(path: string): Promise<boolean> {
  try {
    return (await lstat(path)).isSymbolicLink();
  } catch {
    // Nothing there: no link either.
    return false;
  }
}

function outside(path: string): ToolError {
  return new ToolError(`${path}: is outside the work dir; only paths inside it can be used`);
}
