/** Owns finding the name that somebody meant. */

/** More differences than this share of a name make it another one. */
const maxShare = 0.4;

/** Names that other agents' tools have, and ours for the same. */
const customary: Readonly<Record<string, string>> = {
  apply_diff: "apply_patch",
  bash: "run",
  cat: "read_file",
  create_file: "write_file",
  done: "finish",
  edit: "edit_file",
  exec_command: "run",
  execute: "run",
  find: "search",
  grep: "search",
  list_dir: "list_files",
  ls: "list_files",
  patch: "apply_patch",
  read: "read_file",
  replace: "edit_file",
  run_command: "run",
  run_shell_command: "run",
  shell: "run",
  str_replace: "edit_file",
  view: "read_file",
  write: "write_file",
};

/** The known name that is nearest; undefined if none is near. */
export function nearName(name: string, known: readonly string[]): string | undefined {
  const plain = name
    .slice(0, 100)
    .toLowerCase()
    .replaceAll(/[^a-z]+/g, "_");
  const usual = customary[plain];
  if (usual !== undefined && known.includes(usual)) return usual;
  const rated = known
    .map((candidate) => ({ candidate, distance: distanceOf(plain, candidate) }))
    .sort((a, b) => a.distance - b.distance);
  const [best] = rated;
  if (best === undefined) return undefined;
  return best.distance <= maxShare * best.candidate.length ? best.candidate : undefined;
}

/** How many letters must be put in, taken out or changed. */
function distanceOf(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(change, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
