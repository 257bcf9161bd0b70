/**
 * The subset of google.api.http path templates that devmesh uses: literal
 * segments, `{field}` for one segment, and a `:verb` behind the last one.
 */

/** A compiled template. */
export interface PathTemplate {
  readonly source: string;
  /** Names of the variables, in order. */
  readonly variables: readonly string[];
  /** The variables' decoded values, or undefined if the path does not match. */
  match(pathname: string): Record<string, string> | undefined;
}

/** Compiles a template; throws on syntax outside the subset. */
export function compilePath(source: string): PathTemplate {
  const parts = source.split("/").slice(1);
  const variables: string[] = [];
  const pattern = parts.map((part) => {
    const variable = /^\{([a-z0-9_.]+)\}(:[a-z-]+)?$/.exec(part);
    if (variable !== null) {
      variables.push(variable[1] ?? "");
      return `([^/:]+)${variable[2] ?? ""}`;
    }
    if (/[{}*]/.test(part)) throw new Error(`${source}: unsupported path template`);
    return part.replace(/[.*+?^$()|[\]\\]/g, "\\$&");
  });
  const regexp = new RegExp(`^/${pattern.join("/")}$`);
  return {
    source,
    variables,
    match(pathname) {
      const found = regexp.exec(pathname);
      if (found === null) return undefined;
      return Object.fromEntries(variables.map((name, i) => [name, decode(found[i + 1] ?? "")]));
    },
  };
}

function decode(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    // A broken escape names nothing that exists; the text as it came says so best.
    return segment;
  }
}
