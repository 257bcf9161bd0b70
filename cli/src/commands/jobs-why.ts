/** `devmesh jobs why`. */
import { toJson } from "@bufbuild/protobuf";
import { ExplainJobResponseSchema } from "@devmesh/sdk/raw";
import type { Command } from "../command.ts";
import { showTime } from "../job-text.ts";
import { showStatus } from "../status.ts";
import { inline } from "../table.ts";

/** The command. */
export const command: Command = {
  summary: "Says why a job is not running.",
  usage: "jobs why ID",
  options: {},
  notes: "What keeps the job waiting, the first to look at first, with what to do about it.",
  run: async ({ args, output, paint, interrupts, devmesh }) => {
    const [id = ""] = args.words("ID");
    const why = await devmesh().jobs.explain(id, { signal: interrupts.signal });
    if (output.json) {
      const json = toJson(ExplainJobResponseSchema, why, { alwaysEmitImplicit: true });
      await output.document(json);
      return 0;
    }
    const clear = why.blocks.length === 0 ? "nothing keeps it waiting" : "it waits:";
    await output.data(`${showStatus(why.status, paint)}: ${clear}\n`);
    for (const { kind, message, until, remedy } of why.blocks) {
      const end = until === undefined ? "" : ` (until ${showTime(until)})`;
      await output.data(`${inline(kind)}: ${inline(message, 500)}${end}\n`);
      if (remedy !== "") await output.data(`  remedy: ${inline(remedy, 500)}\n`);
    }
    return 0;
  },
};
