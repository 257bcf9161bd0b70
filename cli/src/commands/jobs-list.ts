/** `devmesh jobs list`. */
import { toJson } from "@bufbuild/protobuf";
import { jobStatusNames } from "@devmesh/sdk";
import { JobSchema } from "@devmesh/sdk/raw";
import type { Command } from "../command.ts";
import { describeWork, showTime } from "../job-text.ts";
import { showStatus } from "../status.ts";
import { formatTable } from "../table.ts";

/** The command. */
export const command: Command = {
  summary: "Lists jobs, newest first.",
  usage: "jobs list [options]",
  options: {
    status: { value: "S", multiple: true, help: `only these: ${jobStatusNames.join(", ")}` },
    type: { value: "T", help: "only command or agent" },
    limit: { value: "N", help: "how many at most (default: 50)" },
  },
  run: async ({ args, output, paint, interrupts, devmesh }) => {
    args.words();
    const limit = args.integer("limit", 1, 100_000) ?? 50;
    const type = args.choice("type", ["command", "agent"] as const);
    const filter = {
      statuses: args.choices("status", jobStatusNames),
      pageSize: Math.min(limit, 500),
      ...(type && { type }),
    };
    const list = devmesh().jobs.list(filter, { signal: interrupts.signal });
    const jobs = await list.toArray(limit);
    if (output.json) {
      await output.document({ jobs: jobs.map((job) => toJson(JobSchema, job)) });
    } else if (jobs.length === 0) {
      await output.talk("no jobs; make one with `devmesh run -- echo hello`");
    } else {
      // The column is there only where it tells something.
      const hasPriority = jobs.some(({ spec }) => spec?.priority);
      const rows = jobs.map((job) => [
        job.id,
        showStatus(job.status, paint),
        ...(hasPriority ? [String(job.spec?.priority || "")] : []),
        job.type,
        showTime(job.createTime),
        describeWork(job),
      ]);
      const head = ["ID", "STATUS", ...(hasPriority ? ["PRIO"] : []), "TYPE", "CREATED", "WORK"];
      await output.data(formatTable(head, rows));
    }
    return 0;
  },
};
