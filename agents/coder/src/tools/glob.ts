/** Owns the reading of globs, with ripgrep's meaning. */
import { ArgumentError } from "./tool.ts";

/**
 * A test of relative paths. `*` and `?` stay within a name, `**` does not;
 * `{a,b}` and `[a-z]` work. A glob without `/` is looked for in names at every
 * depth, one with `/` from the work dir on; `!` before it turns it round.
 */
export function compileGlob(glob: string): (path: string) => boolean {
  const isNegated = glob.startsWith("!");
  const bare = isNegated ? glob.slice(1) : glob;
  const anchored = bare.includes("/") ? bare.replace(/^\//, "") : `**/${bare}`;
  let pattern: RegExp;
  try {
    pattern = new RegExp(`^${toSource(anchored)}$`, "su");
  } catch (cause) {
    throw new ArgumentError(`glob: ${JSON.stringify(glob)} is not one`, { cause });
  }
  return (path) => pattern.test(path) !== isNegated;
}

const piece = /\*\*\/|\/\*\*$|\*+|\?|\[!?[^\]]+\]|\{|\}|,|\\.|./gsu;

function toSource(glob: string): string {
  let depth = 0;
  return glob.replaceAll(piece, (part) => {
    if (part === "**/") return "(?:.*/)?";
    if (part === "/**") return "/.+";
    if (part.startsWith("*")) return "[^/]*";
    if (part === "?") return "[^/]";
    if (part.length > 2 && part.startsWith("[")) return classSource(part);
    if (part === "{") {
      depth += 1;
      return "(?:";
    }
    if (part === "}" && depth > 0) {
      depth -= 1;
      return ")";
    }
    if (part === "," && depth > 0) return "|";
    const literal = part.length === 2 && part.startsWith("\\") ? part.slice(1) : part;
    return literal.replaceAll(/[$()*+./?[\\\]^{|}]/g, "\\$&");
  });
}

function classSource(part: string): string {
  const isNegated = part[1] === "!";
  const inner = part.slice(isNegated ? 2 : 1, -1).replaceAll(/[\\[\]^&~]/g, "\\$&");
  return `[${isNegated ? "^/" : ""}${inner}]`;
}
