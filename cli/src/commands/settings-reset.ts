/** `devmesh settings reset`. */
import type { Command } from "../command.ts";
import { UsageError } from "../usage-error.ts";
import { showSettings } from "./settings.ts";

/** The command. */
export const command: Command = {
  summary: "Gives settings back to the environment's values.",
  usage: "settings reset KEY…",
  options: {},
  notes: "For example: log_level features.infer method_rates\n",
  run: async ({ args, output, interrupts, devmesh }) => {
    const { positionals } = args;
    if (positionals.length === 0) throw new UsageError("KEY is missing");
    const { signal } = interrupts;
    const change = { reset: positionals };
    await showSettings(output, await devmesh().system.updateSettings(change, { signal }));
    return 0;
  },
};
