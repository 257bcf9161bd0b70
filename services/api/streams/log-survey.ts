/**
 * Where the log of one attempt lies among a job's events, and how long it is:
 * found by reading them once. Bytes are left to `job-log.ts`.
 */
import type { JobEvent, LogStream } from "@devmesh/gen/devmesh/api/v1/job_event_pb";
import { JobStatus } from "@devmesh/gen/devmesh/api/v1/job_status_pb";
import { notFound } from "@devmesh/mesh/errors";

/** Which log of a job. */
export interface LogQuery {
  readonly id: string;
  /** From 1. */
  readonly attempt: number;
  /** Absent: both outputs, as they came. */
  readonly stream?: LogStream;
}

/** A place in the log: the event that begins at this byte. */
interface LogMark {
  readonly seq: number;
  readonly offset: number;
}

/** What a survey found. */
export interface LogSurvey {
  readonly bytes: number;
  /** Places to start from, in order; the first is the attempt's start. */
  readonly marks: readonly LogMark[];
  /** The last number that belongs to it. */
  readonly lastSeq: number;
}

/** Events from a number on, in order; those to come are waited for. */
export type ReadEvents = (from: number) => AsyncIterable<JobEvent>;

/** The distance between marks, in bytes. */
const markEveryBytes = 4 << 20;

/** The bytes of an event that the query asks for. */
export function outputOf(
  { kind }: JobEvent,
  stream: LogStream | undefined,
): Uint8Array | undefined {
  if (kind.case !== "log") return undefined;
  return stream === undefined || kind.value.stream === stream ? kind.value.data : undefined;
}

/**
 * Surveys events up to number `upTo`. The log of an attempt starts behind the
 * last event that says it runs: one that was given back is begun again. Throws
 * NOT_FOUND if there is no such attempt, or retention has removed its log.
 */
export async function surveyLog(
  query: LogQuery,
  upTo: number,
  readEvents: ReadEvents,
): Promise<LogSurvey> {
  let found: { bytes: number; marks: LogMark[]; lastSeq: number } | undefined;
  let isInside = false;
  let isTrimmed = false;
  for await (const event of readEvents(1)) {
    const { seq, kind } = event;
    if (seq > upTo) break;
    if (kind.case === "trim") isTrimmed = true;
    if (kind.case === "status" && kind.value.status === JobStatus.RUNNING) {
      isInside = kind.value.attempt === query.attempt;
      if (isInside) found = { bytes: 0, marks: [{ seq, offset: 0 }], lastSeq: seq };
    }
    if (isInside && found !== undefined) {
      found.lastSeq = seq;
      mark(found.marks, seq, found.bytes);
      found.bytes += outputOf(event, query.stream)?.length ?? 0;
    }
    if (seq === upTo) break;
  }
  if (found !== undefined) return found;
  const what = isTrimmed ? "log (retention has removed it)" : "log of that attempt";
  throw notFound(what, `${query.id}, attempt ${query.attempt}`);
}

function mark(marks: LogMark[], seq: number, offset: number): void {
  const last = marks.at(-1);
  if (last !== undefined && offset - last.offset >= markEveryBytes) marks.push({ seq, offset });
}
