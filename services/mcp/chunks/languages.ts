/** Which sources are cut how. */

/** How a source is cut; `grammar` names a tree-sitter grammar. */
export type Cutting =
  | { readonly by: "syntax"; readonly grammar: string }
  | { readonly by: "headings" | "indentation" | "lines" };

const grammarByEnding: Readonly<Record<string, string>> = {
  ts: "typescript",
  mts: "typescript",
  cts: "typescript",
  tsx: "tsx",
  js: "javascript",
  jsx: "javascript",
  mjs: "javascript",
  cjs: "javascript",
  py: "python",
  pyi: "python",
  go: "go",
  rs: "rust",
  java: "java",
  c: "cpp",
  h: "cpp",
  cc: "cpp",
  cpp: "cpp",
  cxx: "cpp",
  hh: "cpp",
  hpp: "cpp",
  cs: "c-sharp",
  rb: "ruby",
  php: "php",
  sh: "bash",
  bash: "bash",
  ps1: "powershell",
  css: "css",
};

/** Above this many characters the syntax is not worth its time. */
const maxSyntaxChars = 512 * 1024;

/** How a document of this source, collection and length is cut. */
export function cuttingOf(source: string, collection: string, chars: number): Cutting {
  const ending = /\.([A-Za-z0-9]+)$/.exec(source)?.[1]?.toLowerCase() ?? "";
  if (/^(md|mdx|markdown)$/.test(ending)) return { by: "headings" };
  const grammar = Object.hasOwn(grammarByEnding, ending) ? grammarByEnding[ending] : undefined;
  if (grammar !== undefined) {
    return chars <= maxSyntaxChars ? { by: "syntax", grammar } : { by: "indentation" };
  }
  return { by: collection === "code" ? "indentation" : "lines" };
}
