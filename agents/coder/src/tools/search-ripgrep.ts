/** Searches the work dir with ripgrep, where it is there. */
import { relative } from "node:path";
import { oneLine } from "../text.ts";
import { runProgram } from "./program.ts";
import type { Match, SearchQuery } from "./search-query.ts";
import { maxFileBytes } from "./text-file.ts";
import { ArgumentError, ToolError } from "./tool.ts";
import { skippedFolders } from "./tree.ts";

const timeoutMs = 60_000;
const maxBytes = 1024 * 1024;

/** Finds the lines that match; undefined if there is no ripgrep. Throws `ArgumentError` for a bad pattern. */
export async function searchRipgrep(
  query: SearchQuery,
  env: Readonly<Record<string, string | undefined>>,
): Promise<Match[] | undefined> {
  const argv = [
    "rg",
    ...flags(query),
    "--",
    query.pattern,
    relative(query.path.root, query.path.real) || ".",
  ];
  const { signal, path } = query;
  const cwd = path.root;
  let end: Awaited<ReturnType<typeof runProgram>>;
  try {
    end = await runProgram({ argv, cwd, env, timeoutMs, maxBytes, signal });
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof ToolError) return undefined;
    throw error;
  }
  if (end.timedOut) throw new ToolError("the search takes too long; give a path or a glob");
  const matches = end.output.split("\n").flatMap(parseLine).slice(0, query.maxMatches);
  if (end.status === 2 && matches.length === 0) {
    throw new ArgumentError(`pattern or glob: ${oneLine(end.output, 400)}`);
  }
  return matches;
}

function flags({ glob }: SearchQuery): string[] {
  return [
    "--no-config",
    "--no-messages",
    "--no-ignore",
    "--hidden",
    "--no-heading",
    "--line-number",
    "--null",
    "--crlf",
    "--color=never",
    "--sort=path",
    "--max-columns=400",
    "--max-columns-preview",
    `--max-filesize=${maxFileBytes}`,
    ...(glob === undefined ? [] : [`--glob=${glob}`]),
    ...skippedFolders.map((name) => `--glob=!**/${name}/**`),
  ];
}

/** `path NUL line : text`; whatever else ripgrep says is no match. */
function parseLine(line: string): Match[] {
  const found = /^(?:\.\/)?([^\0]+)\0(\d+):(.*)$/s.exec(line);
  const [, path, number, text] = found ?? [];
  if (path === undefined || number === undefined || text === undefined) return [];
  return [{ path, line: Number(number), text: text.replace(/\r$/, "") }];
}
