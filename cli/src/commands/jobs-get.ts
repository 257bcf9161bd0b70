/** `devmesh jobs get`. */
import { type JsonValue, toJson } from "@bufbuild/protobuf";
import { JobSchema } from "@devmesh/sdk/raw";
import type { Command } from "../command.ts";
import { eventToJson } from "../event-json.ts";
import { formatJob } from "../job-text.ts";

/** The command. */
export const command: Command = {
  summary: "Shows a job.",
  usage: "jobs get ID [options]",
  options: { events: { help: "also the events that are there now" } },
  run: async ({ args, output, paint, interrupts, devmesh }) => {
    const [id = ""] = args.words("ID");
    const options = { signal: interrupts.signal };
    const job = await devmesh().jobs.get(id, options);
    const events: JsonValue[] = [];
    if (args.flag("events")) {
      for await (const event of devmesh().jobs.events(id, {}, options)) {
        events.push(eventToJson(event));
      }
    }
    if (output.json) {
      const json = toJson(JobSchema, job);
      await output.document(args.flag("events") ? { job: json, events } : { job: json });
      return 0;
    }
    await output.data(formatJob(job, paint));
    for (const event of events) await output.data(`${JSON.stringify(event)}\n`);
    return 0;
  },
};
