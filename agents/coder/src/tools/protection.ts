/** Owns which files the tools must leave as they are. */
import { relative, sep } from "node:path";
import { compileGlob } from "./glob.ts";
import type { JailedPath } from "./jail.ts";
import { ToolError } from "./tool.ts";

/** The files of a job that nobody may change. */
export class Protection {
  readonly #globs: readonly ((path: string) => boolean)[];

  /** Globs; one that a folder fits protects all that is in it. Throws `ArgumentError` for one that is none. */
  constructor(globs: readonly string[] = []) {
    this.#globs = globs.flatMap(withContent).map(compileGlob);
  }

  /** Throws `ToolError` for a protected path, by whatever link it was named. */
  check({ root, real, shown }: JailedPath): void {
    const path = relative(root, real).split(sep).join("/");
    if (!this.#globs.some((matches) => matches(path))) return;
    throw new ToolError(`${shown}: is protected in this job and must stay as it is`);
  }
}

/** What a glob means, and what is below it. */
function withContent(glob: string): string[] {
  const name = glob.replace(/\/+$/, "");
  const wide = name.includes("/") ? name.replace(/^\//, "") : `**/${name}`;
  return [wide, `${wide}/**`];
}
