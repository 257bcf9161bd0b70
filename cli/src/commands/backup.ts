/** `devmesh backup`. */
import { downloadBackup } from "@devmesh/sdk/node";
import type { Command } from "../command.ts";
import { outputFile } from "../output-place.ts";
import { formatBytes, formatTable, inline } from "../table.ts";

/** The command. */
export const command: Command = {
  summary: "Writes a backup of a running server to a file.",
  usage: "backup [options]",
  options: { out: { value: "FILE", help: "the file (default devmesh-<time>.tar.gz here)" } },
  notes: `The file holds every table and blob, and secrets of tokens as hashes only. It is
readable by its owner alone and checked before it gets its name.
\`devmesh restore FILE\` restores it, into SQLite or Postgres.`,
  run: async ({ args, output, interrupts, devmesh }) => {
    args.words();
    const time = new Date().toISOString().replaceAll(/[-:]|\.\d+/g, "");
    const file = await outputFile("--out", args.filled("out") ?? `devmesh-${time}.tar.gz`);
    const report = await downloadBackup(devmesh(), file, { signal: interrupts.signal });
    if (output.json) {
      await output.document({
        ...report,
        file,
        tables: report.tables.map((table) => ({ ...table })),
        blobs: { ...report.blobs },
        notCovered: [...report.notCovered],
      });
      return 0;
    }
    const rows = report.tables.map(({ section, name, rows }) => [section, name, String(rows)]);
    await output.data(formatTable(["SERVICE", "TABLE", "ROWS"], rows));
    const { count, bytes } = report.blobs;
    const blobs = `${count} blobs of ${formatBytes(bytes)}`;
    await output.data(`${blobs}; ${file}, ${formatBytes(report.sizeBytes)}, checked\n`);
    for (const text of report.notCovered) await output.talk(`not in it: ${inline(text, 300)}`);
    return 0;
  },
};
