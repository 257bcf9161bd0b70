/** Owns how a job looks in text. */
import {
  type CancelReceipt,
  durationMs,
  type FencedWrite,
  isolationName,
  type Job,
  timestampDate,
} from "@devmesh/sdk";
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

type Row = readonly [name: string, value: string];

/** All that is known of a job. */
export function formatJob(
  job: Job,
  paint: Paint,
  fencedWrites: readonly FencedWrite[] = [],
): string {
  const { result, spec } = job;
  const concurrency = spec?.concurrency;
  const rows: Row[] = [
    ["id", job.id],
    ["status", showStatus(job.status, paint)],
    ["type", job.type],
    ["work", describeWork(job, 200)],
    ["owner", inline(job.owner)],
    ["priority", spec?.priority ? String(spec.priority) : ""],
    ["key", concurrency ? `${inline(concurrency.key)}, ${concurrency.limit || 1} at once` : ""],
    ["created", showTime(job.createTime)],
    ["not before", showTime(job.availableTime)],
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
      ({ name, sizeBytes }): Row => [
        "artifact",
        `${inline(name, 300)} (${formatBytes(sizeBytes)})`,
      ],
    ),
    ...(result?.cancel === undefined ? [] : cancelRows(result.cancel)),
    ...fencedWrites.map(fencedRow),
  ];
  const told = rows.filter(([, value]) => value !== "");
  return told.map(([name, value]) => `${name.padEnd(10)} ${value}\n`).join("");
}

/** What was done about a cancel, and what was left. */
export function formatSteps({ steps, processesLeft }: CancelReceipt): string {
  const done = steps.map(({ name, after }) => {
    return `${inline(name)} +${after === undefined ? 0 : durationMs(after)} ms`;
  });
  return [...done, `${processesLeft} processes left`].join(", ");
}

/** Who asked for a cancel, and what was done about it. */
function cancelRows(receipt: CancelReceipt): Row[] {
  const { requestedBy, requestTime, detail } = receipt;
  const by = requestedBy === "" ? "" : `asked by ${inline(requestedBy)}`;
  const asked = [by, showTime(requestTime), inline(detail, 300)].filter(Boolean).join(", ");
  return [
    ["cancel", asked],
    ["cancel", formatSteps(receipt)],
  ];
}

function fencedRow({ epoch, runner, action, count, time }: FencedWrite): Row {
  const by = runner === "" ? "" : ` of ${inline(runner)}`;
  return ["fenced", `${inline(action)}${by}, epoch ${epoch}, ${count}×, last ${showTime(time)}`];
}
