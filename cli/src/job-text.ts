/** Owns how a job looks in text. */
import { isolationName, type Job, timestampDate } from "@devmesh/sdk";
import { showStatus } from "./status.ts";
import type { Paint } from "./style.ts";
import { formatBytes, inline } from "./table.ts";

/** What a job does, on one line. */
export function describeWork(job: Job, most = 60): string {
  const work = job.spec?.work;
  switch (work?.case) {
    case "command":
      return inline(work.value.argv.join(" "), most);
    case "agent":
      return inline(work.value.task, most);
    case undefined:
      return "";
    default:
      return work satisfies never;
  }
}

/** A time as ISO text; empty where there is none. */
export function showTime(time: Parameters<typeof timestampDate>[0] | undefined): string {
  return time === undefined ? "" : timestampDate(time).toISOString();
}

/** All that is known of a job. */
export function formatJob(job: Job, paint: Paint): string {
  const { result } = job;
  const rows: (readonly [string, string])[] = [
    ["id", job.id],
    ["status", showStatus(job.status, paint)],
    ["type", job.type],
    ["work", describeWork(job, 200)],
    ["owner", inline(job.owner)],
    ["created", showTime(job.createTime)],
    ["started", showTime(job.startTime)],
    ["ended", showTime(job.endTime)],
    ["attempt", job.attempt === 0 ? "" : String(job.attempt)],
    ["runner", inline(job.runner)],
    ["events", String(job.lastSeq)],
    ["exit code", result?.exitCode === undefined ? "" : String(result.exitCode)],
    ["reason", inline(result?.reason ?? "")],
    ["message", inline(result?.message ?? "", 300)],
    ["driver", inline(result?.driver ?? "")],
    ["isolation", (result && isolationName(result.isolation)) ?? ""],
    ["log", result === undefined ? "" : `${formatBytes(result.logBytes)} ${result.logSha256}`],
    ...(result?.artifacts ?? []).map(
      ({ name, sizeBytes }) =>
        ["artifact", `${inline(name, 300)} (${formatBytes(sizeBytes)})`] as const,
    ),
  ];
  const told = rows.filter(([, value]) => value !== "");
  return told.map(([name, value]) => `${name.padEnd(10)} ${value}\n`).join("");
}
