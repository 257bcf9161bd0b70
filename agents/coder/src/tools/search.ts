/** The tool `search`: lines that match a pattern. How they are found is left to `search-*.ts`. */
import { cutBytes } from "../text.ts";
import type { Jail } from "./jail.ts";
import type { Match, SearchQuery } from "./search-query.ts";
import { searchRipgrep } from "./search-ripgrep.ts";
import { searchWalk } from "./search-walk.ts";
import { readText, statOf } from "./text-file.ts";
import { ArgumentError, type Tool, ToolError } from "./tool.ts";

/** How to search. */
export interface SearchOptions {
  readonly jail: Jail;
  /** For ripgrep. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** False: do not look for ripgrep. Default: true. */
  readonly ripgrep?: boolean;
}

const maxMatches = 200;
const maxLineBytes = 300;

/** Makes the tool. */
export function createSearch({ jail, env, ripgrep = true }: SearchOptions): Tool {
  return {
    name: "search",
    description:
      "Finds lines by a regular expression; each comes as `path:line: text`. " +
      `At most ${maxMatches} lines.`,
    parameters: {
      type: "object",
      properties: {
        pattern: { type: "string", description: "A regular expression for one line." },
        path: { type: "string", description: "A file or folder. Default: the work dir." },
        glob: { type: "string", description: "Only these files, for example `*.ts`, `src/**`." },
      },
      required: ["pattern"],
      additionalProperties: false,
    },
    async run(args, { signal }) {
      const pattern = args.text("pattern");
      if (pattern === "") throw new ArgumentError("pattern: must not be empty");
      const path = await jail.resolve(args.optionalText("path") || ".");
      const query: SearchQuery = {
        pattern,
        glob: args.optionalText("glob") || undefined,
        path,
        isFolder: (await statOf(path)).isDirectory(),
        // One more than is shown, to know whether there are more.
        maxMatches: maxMatches + 1,
        signal,
      };
      const quick = ripgrep ? await searchRipgrep(query, env) : undefined;
      return shown(quick ? await asRead(quick, jail) : await searchWalk(query));
    },
  };
}

function shown(matches: readonly Match[]): string {
  if (matches.length === 0) return "no line matches";
  const lines = matches
    .slice(0, maxMatches)
    .map(({ path, line, text }) => `${path}:${line}: ${cutBytes(text, maxLineBytes)}`);
  if (matches.length > maxMatches) {
    lines.push(`[more than ${maxMatches} lines match; narrow it by path, glob or pattern]`);
  }
  return lines.join("\n");
}

/**
 * The lines as the jail reads them: what another program saw at a path while it
 * was something else is not shown.
 */
async function asRead(matches: readonly Match[], jail: Jail): Promise<Match[]> {
  const files = new Map<string, readonly string[]>();
  const found: Match[] = [];
  for (const match of matches) {
    const lines = files.get(match.path) ?? (await linesOf(match.path, jail));
    files.set(match.path, lines);
    const text = lines[match.line - 1];
    if (text !== undefined) found.push({ ...match, text });
  }
  return found;
}

async function linesOf(path: string, jail: Jail): Promise<readonly string[]> {
  try {
    return (await readText(await jail.resolve(path))).split(/\r?\n/);
  } catch (error) {
    // Gone, no text, or a link that leads out by now: nothing of it is shown.
    if (error instanceof ToolError) return [];
    throw error;
  }
}
