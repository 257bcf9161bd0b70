/** Which changes of a job are to files that had to stay as they were, whoever changed them. */
import { matchesGlob } from "node:path";
import type { FileChange } from "./workspace-changes.ts";

/**
 * The changed paths that a glob protects, sorted. A glob without `/` is looked for in names at
 * every depth; one that a folder fits protects all that is in it.
 */
export function protectedChanges(
  changes: readonly FileChange[],
  globs: readonly string[],
): string[] {
  const wide = globs.flatMap(withContent).map(visible);
  return changes
    .map(({ path }) => path)
    .filter((path) => wide.some((glob) => matchesGlob(visible(path), glob)));
}

/** What a glob means, and what is below it. */
function withContent(glob: string): string[] {
  const name = glob.replace(/\/+$/, "");
  const wide = name.includes("/") ? name.replace(/^\//, "") : `**/${name}`;
  return [wide, `${wide}/**`];
}

/** Globs pass over names that begin with a dot; here such files count like others. */
function visible(path: string): string {
  return path.replaceAll(/(^|\/)\./g, "$1_.");
}
