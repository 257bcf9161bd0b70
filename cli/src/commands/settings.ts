/** `devmesh settings`. */
import { toJson } from "@bufbuild/protobuf";
import { type Settings, SettingsSchema } from "@devmesh/sdk/raw";
import type { Command } from "../command.ts";
import type { Output } from "../output.ts";
import { settingRows } from "../settings-text.ts";
import { formatTable, inline } from "../table.ts";

/** The command. */
export const command: Command = {
  summary: "Shows what changes without a restart, as it holds now.",
  usage: "settings",
  options: {},
  run: async ({ args, output, interrupts, devmesh }) => {
    args.words();
    await showSettings(output, await devmesh().system.settings({ signal: interrupts.signal }));
    return 0;
  },
};

/** Settings and their version: a table, or one document. */
export async function showSettings(
  output: Output,
  answer: { readonly settings?: Settings; readonly version: bigint },
): Promise<void> {
  const { settings, version } = answer;
  if (settings === undefined) throw new Error("the server told no settings");
  if (output.json) {
    await output.document({ settings: toJson(SettingsSchema, settings), version: String(version) });
    return;
  }
  const rows = settingRows(settings).map(([key, value]) => [key, inline(value)]);
  await output.data(formatTable(["KEY", "VALUE"], rows));
}
