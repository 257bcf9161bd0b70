/** `devmesh settings set`. */
import type { Command } from "../command.ts";
import { readChange } from "../settings-text.ts";
import { UsageError } from "../usage-error.ts";
import { showSettings } from "./settings.ts";

/** The command. */
export const command: Command = {
  summary: "Changes settings; every replica follows within two seconds.",
  usage: "settings set KEY=VALUE… [options]",
  options: {
    version: { value: "N", help: "fail unless the settings have this version" },
  },
  notes: "For example: log_level=debug token_rate=100:200 features.infer=false\n",
  run: async ({ args, output, interrupts, devmesh }) => {
    const { positionals } = args;
    if (positionals.length === 0) throw new UsageError("KEY=VALUE is missing");
    const expectedVersion = BigInt(args.integer("version", 0, Number.MAX_SAFE_INTEGER) ?? 0);
    const change = { settings: readChange(positionals), expectedVersion };
    const { signal } = interrupts;
    await showSettings(output, await devmesh().system.updateSettings(change, { signal }));
    return 0;
  },
};
