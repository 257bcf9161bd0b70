/**
 * Builds the images of containers into an engine and prints what to pin them by:
 * `node deploy/images/build.ts [base] [coder]`. What is in them is said by their recipes.
 */
import { baseRecipe } from "../../scripts/parts/base-image.ts";
import { runningEngine } from "../../scripts/parts/docker.ts";
import { ensureImage, recordImage } from "../../scripts/parts/system-image.ts";
import { coderRecipe } from "./coder-image.ts";

const recipes = { base: baseRecipe, coder: coderRecipe };
const asked = process.argv.slice(2);
const names = asked.length > 0 ? asked : Object.keys(recipes);
const unknown = names.filter((name) => !Object.hasOwn(recipes, name));
if (unknown.length > 0) {
  console.error(`error: there is no image ${unknown.join(", ")}; there are base, coder`);
  process.exit(2);
}
const engine = await runningEngine();
if (engine === undefined) {
  console.error("error: no Docker engine answers at DOCKER_HOST or /var/run/docker.sock");
  process.exit(1);
}
for (const [name, recipe] of Object.entries(recipes)) {
  if (!names.includes(name)) continue;
  const log = (line: string) => console.error(`  ${line}`);
  const built = await ensureImage(engine.socketPath, recipe, { log });
  if (built.ok) console.log(`DOCKER_IMAGE=${await recordImage(recipe, built.value.id)}`);
  else {
    console.error(`error: ${built.reason}; ${built.remedy}`);
    process.exitCode = 1;
  }
}
