/** `devmesh jobs answer`: more budget for an agent that asks, or the word to stop. */
import { toJson } from "@bufbuild/protobuf";
import type { Devmesh } from "@devmesh/sdk";
import { JobSchema } from "@devmesh/sdk/raw";
import type { Command } from "../command.ts";
import { parseDuration } from "../duration.ts";
import { parseDollars } from "../money.ts";
import { showStatus } from "../status.ts";
import { UsageError } from "../usage-error.ts";

const dayMs = 86_400_000;

/** The command. */
export const command: Command = {
  summary: "Answers a job's agent that asks because a budget has ended.",
  usage: "jobs answer ID [options]",
  options: {
    "more-steps": { value: "N", help: "so many model turns more" },
    "more-tokens": { value: "N", help: "so many tokens more" },
    "more-cost": { value: "USD", help: "so much money more, in US dollars" },
    "more-time": { value: "TIME", help: "so much time more, for example 10m" },
    message: { value: "TEXT", short: "m", help: "a word to the agent" },
    stop: { help: "let it stop: the job fails with LIMIT and keeps what was done" },
    question: { value: "SEQ", help: "the event that asks (default: the job's last question)" },
  },
  run: async ({ args, output, paint, interrupts, devmesh }) => {
    const [id = ""] = args.words("ID");
    const moreSteps = args.integer("more-steps", 1, 1000);
    const moreTokens = args.integer("more-tokens", 1, 2 ** 32 - 1);
    const cost = args.text("more-cost");
    const time = args.text("more-time");
    const message = args.text("message");
    const stop = args.flag("stop");
    const more = {
      ...(moreSteps !== undefined && { moreSteps }),
      ...(moreTokens !== undefined && { moreTokens }),
      ...(cost !== undefined && { moreCostMicros: parseDollars("--more-cost", cost) }),
      ...(time !== undefined && { moreTimeMs: parseDuration("--more-time", time, dayMs) }),
    };
    const isEmpty = Object.keys(more).length === 0;
    if (stop !== isEmpty) {
      throw new UsageError(
        stop ? "--stop and more budget contradict each other" : "the answer is missing",
        "give --more-steps, --more-tokens, --more-cost or --more-time, or --stop",
      );
    }
    const { signal } = interrupts;
    const asked = args.integer("question", 1, 2 ** 32 - 1);
    const questionSeq = asked ?? (await lastQuestion(devmesh(), id, signal));
    const answer = { questionSeq, stop, ...more, ...(message !== undefined && { message }) };
    const job = await devmesh().jobs.answer(id, answer, { signal });
    if (output.json) await output.document({ job: toJson(JobSchema, job), questionSeq });
    else await output.data(`${job.id} ${showStatus(job.status, paint)}, answered\n`);
    return 0;
  },
};

async function lastQuestion(devmesh: Devmesh, id: string, signal: AbortSignal): Promise<number> {
  let seq = 0;
  for await (const event of devmesh.jobs.events(id, { pageSize: 1000 }, { signal })) {
    if (event.kind.case === "note" && event.kind.value.topic === "agent.question") seq = event.seq;
  }
  if (seq > 0) return seq;
  throw new UsageError(`job ${id} asks nothing`, "`devmesh jobs watch ID` shows what it does");
}
