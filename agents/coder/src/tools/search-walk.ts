/** Searches the work dir with JavaScript's own regular expressions, where ripgrep is not there. */
import { join, relative, sep } from "node:path";
import vm from "node:vm";
import { errorCode, errorText } from "../text.ts";
import { compileGlob } from "./glob.ts";
import type { JailedPath } from "./jail.ts";
import type { Match, SearchQuery } from "./search-query.ts";
import { readText } from "./text-file.ts";
import { ArgumentError, ToolError } from "./tool.ts";
import { walkTree } from "./tree.ts";

/** A pattern may take so long in one file; one that backtracks for ever would block the agent. */
const fileTimeoutMs = 2000;

/** Finds the lines that match, in the order of their paths. */
export async function searchWalk(query: SearchQuery): Promise<Match[]> {
  const pattern = compilePattern(query.pattern);
  const wanted = query.glob === undefined ? () => true : compileGlob(query.glob);
  const matches: Match[] = [];
  for await (const { path, file } of filesOf(query)) {
    if (!wanted(path) && query.isFolder) continue;
    const text = await textOf({ ...query.path, real: file, shown: path });
    if (text === undefined) continue;
    const lines = text.split(/\r?\n/);
    if (lines.at(-1) === "") lines.pop();
    for (const index of matchingLines(pattern, lines)) {
      matches.push({ path, line: index + 1, text: lines[index] ?? "" });
      if (matches.length >= query.maxMatches) return matches;
    }
  }
  return matches;
}

async function* filesOf({ path: { root, real, ...rest }, isFolder, signal }: SearchQuery) {
  const path = relative(root, real).split(sep).join("/");
  if (!isFolder) {
    yield { path, file: real };
    return;
  }
  const prefix = path === "" ? "" : `${path}/`;
  for await (const entry of walkTree({ root, real, ...rest }, signal, { prefix })) {
    // Opened anew from the work dir on: the walk's own place is not a path inside it.
    if (entry.kind === "file") yield { path: entry.path, file: join(root, entry.path) };
  }
}

/** The text of a file; undefined for what is no text, too large or gone. */
async function textOf(file: JailedPath): Promise<string | undefined> {
  try {
    return await readText(file);
  } catch (error) {
    if (error instanceof ToolError) return undefined;
    throw error;
  }
}

function compilePattern(pattern: string): RegExp {
  try {
    return new RegExp(pattern, "u");
  } catch {
    // Patterns that escape more than they must are only read without `u`.
    try {
      return new RegExp(pattern);
    } catch (error) {
      throw new ArgumentError(`pattern: ${errorText(error)}`);
    }
  }
}

const script = new vm.Script(
  "const found = []; for (let i = 0; i < lines.length; i++) if (pattern.test(lines[i])) found.push(i); found",
);

/** Only a script of its own can be ended in the middle of a pattern. */
function matchingLines(pattern: RegExp, lines: readonly string[]): readonly number[] {
  try {
    const found: unknown = script.runInNewContext({ pattern, lines }, { timeout: fileTimeoutMs });
    return Array.isArray(found) ? found.map(Number) : [];
  } catch (error) {
    if (errorCode(error) !== "ERR_SCRIPT_EXECUTION_TIMEOUT") throw error;
    throw new ToolError("pattern: takes too long; write a simpler one");
  }
}
