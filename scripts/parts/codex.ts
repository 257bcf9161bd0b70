/** OpenAI's coding agent codex, unmodified, for runs of foreign agents. */
import { type AgentPackage, ensureAgentPackage, type InstalledAgent } from "./agent-package.ts";
import type { Found, PartOptions } from "./part.ts";

const version = "0.169.0";
const platforms = ["linux-x64", "linux-arm64", "darwin-x64", "darwin-arm64"];

const codex: AgentPackage = {
  name: "codex",
  version,
  // The platforms' packages are versions of one package.
  platforms: Object.fromEntries(
    platforms.map((platform) => [
      platform,
      { package: `@openai/codex@${version}-${platform}`, folder: "@openai/codex" },
    ]),
  ),
  programs: { "vendor/*/bin/codex": "codex", "vendor/*/codex-path/rg": "rg" },
};

/** Finds codex in the cache folder, or gets it from npm (some 300 MB). */
export function ensureCodex(options: PartOptions = {}): Promise<Found<InstalledAgent>> {
  return ensureAgentPackage(codex, options);
}
