/** The coding agent opencode, unmodified, for runs of foreign agents. */
import { type AgentPackage, ensureAgentPackage, type InstalledAgent } from "./agent-package.ts";
import type { Found, PartOptions } from "./part.ts";

const version = "1.18.33";

/** The packages of x64 that ask for no newer instructions run on every processor. */
const packages: Readonly<Record<string, string>> = {
  "linux-x64": "opencode-linux-x64-baseline",
  "linux-arm64": "opencode-linux-arm64",
  "darwin-x64": "opencode-darwin-x64-baseline",
  "darwin-arm64": "opencode-darwin-arm64",
};

const opencode: AgentPackage = {
  name: "opencode",
  version,
  platforms: Object.fromEntries(
    Object.entries(packages).map(([platform, name]) => [
      platform,
      { package: `${name}@${version}`, folder: name },
    ]),
  ),
  programs: { "bin/opencode": "opencode" },
};

/** Finds opencode in the cache folder, or gets it from npm (some 180 MB). */
export function ensureOpencode(options: PartOptions = {}): Promise<Found<InstalledAgent>> {
  return ensureAgentPackage(opencode, options);
}
