/** `devmesh jobs retry`. */
import { toJson } from "@bufbuild/protobuf";
import { JobSchema } from "@devmesh/sdk/raw";
import type { Command } from "../command.ts";

/** The command. */
export const command: Command = {
  summary: "Makes a new job with the work of an ended one.",
  usage: "jobs retry ID [options]",
  options: { key: { value: "KEY", help: "idempotency key (default: a new one)" } },
  run: async ({ args, output, interrupts, devmesh }) => {
    const [id = ""] = args.words("ID");
    const key = args.text("key");
    const { jobId, job, replayed } = await devmesh().jobs.retry(id, {
      signal: interrupts.signal,
      ...(key !== undefined && { idempotencyKey: key }),
    });
    if (output.json) await output.document({ jobId, replayed, job: toJson(JobSchema, job) });
    else await output.data(`${jobId}\n`);
    return 0;
  },
};
