/** Owns what a job is called on screen. */
import { durationMs, type Job, type JobSpec, timestampDate } from "@devmesh/sdk";
import { joinWords } from "../../ui/words.ts";

/** The command line, or the task's first line. */
export function jobTitle(job: Job): string {
  const work = job.spec?.work;
  switch (work?.case) {
    case "command":
      return commandTitle(work.value.argv);
    case "agent":
      return work.value.task.trim().split("\n")[0] ?? "";
    case undefined:
      return job.id;
    default:
      return work satisfies never;
  }
}

/** `sh -c SCRIPT` is called by its script. */
function commandTitle(argv: readonly string[]): string {
  const [shell, flag, script] = argv;
  const isScript = argv.length === 3 && /^(.*\/)?(ba|da|z)?sh$/.test(shell ?? "");
  if (isScript && /^-\w*c$/.test(flag ?? "") && script !== undefined) return script;
  return joinWords(argv);
}

/** Time from start to end, or to now, in milliseconds. Undefined before the start. */
export function runMs(job: Job, nowMs: number): number | undefined {
  if (job.startTime === undefined) return undefined;
  const end = job.endTime === undefined ? nowMs : timestampDate(job.endTime).getTime();
  return end - timestampDate(job.startTime).getTime();
}

/** The bounds that were asked for, in words; empty where all are the defaults. */
export function limitWords(spec: JobSpec | undefined): string {
  const limits = spec?.limits;
  if (limits === undefined) return "";
  const words: string[] = [];
  if (limits.runTimeout !== undefined) words.push(`${durationMs(limits.runTimeout) / 1000} s`);
  if (limits.memoryMib > 0) words.push(`${limits.memoryMib} MiB`);
  if (limits.cpuMillis > 0) words.push(`${limits.cpuMillis / 1000} CPU`);
  if (limits.pids > 0) words.push(`${limits.pids} processes`);
  if (limits.diskMib > 0) words.push(`${limits.diskMib} MiB disk`);
  return words.join(", ");
}
