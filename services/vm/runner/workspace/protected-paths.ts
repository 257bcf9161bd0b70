/** Which changes of a job are to files that had to stay as they were, whoever changed them. */
import { matchesGlob } from "node:path";
import type { FileChange } from "./workspace-changes.ts";

/** The changed paths that a glob protects, sorted; a glob without `/` is looked for in names at every depth. */
export function protectedChanges(
  changes: readonly FileChange[],
  globs: readonly string[],
): string[] {
  const wide = globs.map((glob) =>
    visible(glob.includes("/") ? glob.replace(/^\//, "") : `**/${glob}`),
  );
  return changes
    .map(({ path }) => path)
    .filter((path) => wide.some((glob) => matchesGlob(visible(path), glob)));
}

/** Globs pass over names that begin with a dot; here such files count like others. */
function visible(path: string): string {
  return path.replaceAll(/(^|\/)\./g, "$1_.");
}
