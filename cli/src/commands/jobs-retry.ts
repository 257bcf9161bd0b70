/** `devmesh jobs retry`. */
import { toJson } from "@bufbuild/protobuf";
import type { RetryFilter } from "@devmesh/sdk";
import { JobSchema } from "@devmesh/sdk/raw";
import type { Args } from "../args.ts";
import type { Command, CommandContext } from "../command.ts";
import { UsageError } from "../usage-error.ts";

/** The options that pick many jobs. */
const picks = ["failed", "cancelled", "all"] as const;

/** The command. */
export const command: Command = {
  summary: "Makes new jobs with the work of ended ones: of one, or of all that a filter picks.",
  usage: "jobs retry ID [--key KEY] | jobs retry --failed|--cancelled|--all [options]",
  options: {
    key: { value: "KEY", help: "idempotency key, with ID (default: a new one)" },
    failed: { help: "all failed jobs" },
    cancelled: { help: "all cancelled jobs" },
    all: { help: "all failed and all cancelled jobs" },
    reason: { value: "R", help: "only those that ended with this reason, as RUNNER_LOST" },
    label: { value: "K=V", multiple: true, help: "only those with this label; may be repeated" },
  },
  notes:
    "A job that was retried by a filter before is passed over, so that the same command\n" +
    "may be given again after a failure in between.",
  run: async (context) => {
    const { args } = context;
    const isMany = picks.some((name) => args.flag(name));
    if (isMany) return retryMany(context, readFilter(args));
    if (args.text("reason") !== undefined || args.list("label").length > 0) {
      throw new UsageError(
        "--reason and --label pick among many",
        "add --failed, --cancelled or --all",
      );
    }
    return retryOne(context);
  },
};

async function retryOne({ args, output, interrupts, devmesh }: CommandContext): Promise<number> {
  const [id = ""] = args.words("ID");
  const key = args.filled("key");
  const { jobId, job, replayed } = await devmesh().jobs.retry(id, {
    signal: interrupts.signal,
    ...(key !== undefined && { idempotencyKey: key }),
  });
  if (output.json) await output.document({ jobId, replayed, job: toJson(JobSchema, job) });
  else await output.data(`${jobId}\n`);
  return 0;
}

function readFilter(args: Args): RetryFilter {
  args.words();
  if (args.text("key") !== undefined) {
    throw new UsageError("--key goes with one job", "leave it out, or name the job by its ID");
  }
  const all = args.flag("all");
  const reason = args.text("reason");
  return {
    statuses: (["failed", "cancelled"] as const).filter((name) => all || args.flag(name)),
    labels: args.pairs("label"),
    ...(reason !== undefined && { reason }),
  };
}

async function retryMany(
  { output, interrupts, devmesh }: CommandContext,
  filter: RetryFilter,
): Promise<number> {
  const jobs: { id: string; newId: string }[] = [];
  for await (const { id, newId } of devmesh().jobs.retryAll(filter, {
    signal: interrupts.signal,
  })) {
    jobs.push({ id, newId });
    if (!output.json) await output.data(`${id} ${newId}\n`);
  }
  if (output.json) await output.document({ jobs });
  else await output.talk(`${jobs.length} jobs retried`);
  return 0;
}
