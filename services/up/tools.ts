/**
 * Finds the tools that lie beside the services in a checkout: `chaos/` and `attack/`. What they
 * do is theirs; an installation without them says so.
 */
import { existsSync } from "node:fs";
import { DevmeshError } from "@devmesh/mesh/errors";

/** The tools. */
export type ToolName = "attack" | "chaos";

/** The root of the checkout that this package is in. */
const checkout = new URL("../../", import.meta.url);

/** Where a tool begins. Throws UNAVAILABLE with the remedy where the installation has none. */
export function toolEntry(name: ToolName, root: URL = checkout): string {
  const entry = new URL(`${name}/index.ts`, root);
  if (existsSync(entry)) return entry.href;
  throw new DevmeshError(
    "UNAVAILABLE",
    `the ${name} tool is not in this installation: run \`npm run ${name}\` in a checkout of devmesh`,
    { metadata: { part: name } },
  );
}
