import { readdirSync } from "node:fs";

/** How often each service is tried again, by its name. */
export async function retriesByName() {
  const found = {};
  for (const file of readdirSync("services").sort()) {
    const [service] = Object.values(await import(`../services/${file}`));
    found[service.name] = service.retries;
  }
  return found;
}
