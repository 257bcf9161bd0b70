/** `devmesh restore`. */
import { resolve } from "node:path";
import type { Command, CommandContext } from "../command.ts";
import { loadPlatform } from "../platform-door.ts";
import { inline } from "../table.ts";

/** The command. */
export const command: Command = {
  summary: "Restores a backup into an empty place, while nothing runs there.",
  usage: "restore FILE [options]",
  options: {
    "storage-url": { value: "URL", help: "postgres://… (default: SQLite in the data folder)" },
    "data-dir": {
      value: "DIR",
      help: "where everything is kept (default ~/.local/share/devmesh)",
    },
  },
  notes: "The whole file is checked before anything is written. The place must be empty.",
  run: async (context) => {
    const { args, output } = context;
    const [file = ""] = args.words("FILE");
    const platform = await loadPlatform();
    const report = await platform.runRestore({ file: resolve(file), env: placeOf(context) });
    const { dataDir, storage, rows, blobs, leftOut } = report;
    if (output.json) {
      await output.document({ ...report, leftOut: [...leftOut] });
      return 0;
    }
    await output.data(`restored ${rows} rows and ${blobs} blobs into ${dataDir} (${storage})\n`);
    for (const text of leftOut) await output.talk(`not restored: ${inline(text, 300)}`);
    await output.talk(
      "Jobs that ran when the backup was made are queued again at the next start,\n" +
        "or fail as RUNNER_LOST where they have no attempts left.",
    );
    return 0;
  },
};

/** The settings that say where to. */
function placeOf({ args, env }: CommandContext): CommandContext["env"] {
  const url = args.text("storage-url");
  const folder = args.text("data-dir");
  return {
    ...env,
    ...(url !== undefined && { STORAGE_URL: url }),
    ...(folder !== undefined && { DEVMESH_DATA_DIR: resolve(folder) }),
  };
}
