/** `devmesh audit list`. */
import { toJson } from "@bufbuild/protobuf";
import { AuditEventSchema } from "@devmesh/sdk/raw";
import type { Command } from "../command.ts";
import { showTime } from "../job-text.ts";
import { formatTable, inline } from "../table.ts";

/** The command. */
export const command: Command = {
  summary: "Lists who changed what and how it went, newest first.",
  usage: "audit list [options]",
  options: {
    limit: { value: "N", help: "how many at most (default: 50)" },
  },
  run: async ({ args, output, interrupts, devmesh }) => {
    args.words();
    const limit = args.integer("limit", 1, 100_000) ?? 50;
    const query = { pageSize: Math.min(limit, 500) };
    const events = await devmesh().audit.list(query, { signal: interrupts.signal }).toArray(limit);
    if (output.json) {
      await output.document({ events: events.map((event) => toJson(AuditEventSchema, event)) });
      return 0;
    }
    const rows = events.map((event) => [
      String(event.id),
      showTime(event.time),
      inline(event.actor),
      inline(event.action),
      inline(event.resource),
      inline(event.outcome),
      inline(event.detail),
    ]);
    const names = ["ID", "TIME", "ACTOR", "ACTION", "RESOURCE", "OUTCOME", "DETAIL"];
    // Most rows have none: where no row has one there is no column for it.
    const width = events.some(({ detail }) => detail !== "") ? names.length : names.length - 1;
    const cut = rows.map((row) => row.slice(0, width));
    await output.data(formatTable(names.slice(0, width), cut));
    return 0;
  },
};
