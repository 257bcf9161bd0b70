/** Owns reading a unified diff. */

/** One line of a diff, with its numbers in the old and the new file. */
export interface DiffLine {
  readonly kind: "add" | "remove" | "context" | "hunk" | "meta";
  readonly text: string;
  readonly oldLine?: number;
  readonly newLine?: number;
}

/** What changed in one file. */
export interface DiffFile {
  readonly name: string;
  readonly lines: DiffLine[];
  added: number;
  removed: number;
}

/** The files of a unified diff. Text before the first one belongs to no file and is left out. */
export function parseDiff(patch: string): DiffFile[] {
  const files: DiffFile[] = [];
  const lines = patch.split("\n");
  if (lines.at(-1) === "") lines.pop();
  let file: DiffFile | undefined;
  let oldLine = 0;
  let newLine = 0;
  // Lines that the hunk at hand still has; they tell `--- a` from a removed `-- a`.
  let oldLeft = 0;
  let newLeft = 0;
  const start = (name: string) => {
    file = { name, lines: [], added: 0, removed: 0 };
    files.push(file);
  };
  for (const [index, line] of lines.entries()) {
    const hunk = /^@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@/.exec(line);
    if (file !== undefined && (oldLeft > 0 || newLeft > 0)) {
      const text = line.slice(1);
      if (line.startsWith("+")) {
        file.lines.push({ kind: "add", text, newLine: newLine++ });
        file.added++;
        newLeft--;
      } else if (line.startsWith("-")) {
        file.lines.push({ kind: "remove", text, oldLine: oldLine++ });
        file.removed++;
        oldLeft--;
      } else if (line.startsWith("\\")) file.lines.push({ kind: "meta", text: line });
      else {
        file.lines.push({ kind: "context", text, oldLine: oldLine++, newLine: newLine++ });
        oldLeft--;
        newLeft--;
      }
    } else if (line.startsWith("diff --git ")) {
      start(/ b\/(.*)$/.exec(line)?.[1] ?? line.slice(11));
    } else if (line.startsWith("--- ") && lines[index + 1]?.startsWith("+++ ")) {
      if (file === undefined || file.lines.some(({ kind }) => kind === "hunk")) {
        start(fileName(lines[index + 1] ?? "", line));
      }
    } else if (hunk !== null && file !== undefined) {
      oldLine = Number(hunk[1]);
      newLine = Number(hunk[3]);
      oldLeft = Number(hunk[2] ?? 1);
      newLeft = Number(hunk[4] ?? 1);
      file.lines.push({ kind: "hunk", text: line });
    } else if (file !== undefined && !line.startsWith("+++ ") && line !== "") {
      file.lines.push({ kind: "meta", text: line });
    }
  }
  return files;
}

function fileName(after: string, before: string): string {
  const name = after.slice(4).split("\t")[0] ?? "";
  const chosen = name === "/dev/null" ? (before.slice(4).split("\t")[0] ?? "") : name;
  return chosen.replace(/^[ab]\//, "");
}
