/** `devmesh jobs get`. */
import { type JsonValue, toJson } from "@bufbuild/protobuf";
import { FencedWriteSchema, JobSchema } from "@devmesh/sdk/raw";
import type { Command } from "../command.ts";
import { eventToJson } from "../event-json.ts";
import { formatJob } from "../job-text.ts";

/** The command. */
export const command: Command = {
  summary: "Shows a job.",
  usage: "jobs get ID [options]",
  options: { events: { help: "also the events that are there now, and refused writes" } },
  notes:
    "Refused (fenced) writes are those of a runner that had lost the job. With --json and\n" +
    "--events they are in `fencedWrites`; a cancel's receipt is in `job.result.cancel`.",
  run: async ({ args, output, paint, interrupts, devmesh }) => {
    const [id = ""] = args.words("ID");
    const options = { signal: interrupts.signal };
    const { job, fencedWrites } = await devmesh().jobs.inspect(id, options);
    const events: JsonValue[] = [];
    if (args.flag("events")) {
      for await (const event of devmesh().jobs.events(id, {}, options)) {
        events.push(eventToJson(event));
      }
    }
    if (output.json) {
      const json = toJson(JobSchema, job);
      const refused = fencedWrites.map((write) => toJson(FencedWriteSchema, write));
      const all = { job: json, events, fencedWrites: refused };
      await output.document(args.flag("events") ? all : { job: json });
      return 0;
    }
    await output.data(formatJob(job, paint, fencedWrites));
    for (const event of events) await output.data(`${JSON.stringify(event)}\n`);
    return 0;
  },
};
