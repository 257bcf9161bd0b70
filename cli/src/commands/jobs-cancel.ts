/** `devmesh jobs cancel`. */
import { toJson } from "@bufbuild/protobuf";
import { JobSchema } from "@devmesh/sdk/raw";
import type { Command } from "../command.ts";
import { showStatus } from "../status.ts";

/** The command. */
export const command: Command = {
  summary: "Asks to cancel a job.",
  usage: "jobs cancel ID [options]",
  options: { detail: { value: "TEXT", help: "why, for the job's events" } },
  run: async ({ args, output, paint, interrupts, devmesh }) => {
    const [id = ""] = args.words("ID");
    const detail = args.text("detail");
    const job = await devmesh().jobs.cancel(id, {
      signal: interrupts.signal,
      ...(detail !== undefined && { detail }),
    });
    if (output.json) await output.document({ job: toJson(JobSchema, job) });
    else await output.data(`${job.id} ${showStatus(job.status, paint)}, cancel requested\n`);
    return 0;
  },
};
