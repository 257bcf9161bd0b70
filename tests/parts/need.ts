/** How a test asks for a part: it goes on with the part, or is skipped with the reason. */
import type { Found } from "../../scripts/parts/part.ts";

/** The value of a part that is here; else prints why not and skips the running test or suite. */
export function need<T>(context: Mocha.Context, found: Found<T>): T {
  if (found.ok) return found.value;
  console.log(`      skipped: ${found.reason} (${found.remedy})`);
  return context.skip();
}

/** Progress of parts, shown below the running test. */
export function log(line: string): void {
  console.log(`      ${line}`);
}
