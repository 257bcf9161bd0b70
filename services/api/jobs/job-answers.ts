/** Answers to agents that ask: what one does to a job in each of its states. */
import { create, equals, fromJsonString, toJsonString } from "@bufbuild/protobuf";
import { type AgentAnswer, AgentAnswerSchema } from "@devmesh/gen/devmesh/api/v1/agent_work_pb";
import type { JobEvent } from "@devmesh/gen/devmesh/api/v1/job_event_pb";
import type { Job } from "@devmesh/gen/devmesh/api/v1/job_pb";
import { JobStatus } from "@devmesh/gen/devmesh/api/v1/job_status_pb";
import { DevmeshError, notFound } from "@devmesh/mesh/errors";
import { isFinal, type JobRow, toJob } from "./job-rows.ts";
import type { ReadLimits } from "./job-store.ts";

/** The topic of the note with which an agent's runner asks. */
const questionTopic = "agent.question";

/** Notes after which a question is open no more. */
const closing: ReadonlySet<string> = new Set([
  ...[questionTopic, "agent.answer", "agent.turn", "agent.end"],
]);

/** How much of a log is looked at behind a question; an open one has next to nothing behind it. */
const lookLimits: ReadLimits = { maxEvents: 500, maxBytes: 1 << 20 };

/** How many events before the last one a question is looked for. */
const lookBack = 100;

/** What the rule needs of a store. */
export interface AnswerRows {
  find(id: string): Promise<JobRow | undefined>;
  readEvents(id: string, from: number, limits: ReadLimits): Promise<JobEvent[]>;
  /** Keeps an answer; undefined, and nothing done, unless the job has not ended and a later question is answered. */
  markAnswer(id: string, questionSeq: number, answer: string): Promise<JobRow | undefined>;
}

/** See JobStore.answer. */
export async function answerQuestion(
  rows: AnswerRows,
  id: string,
  answer: AgentAnswer,
): Promise<Job> {
  const { questionSeq } = answer;
  const row = await rows.find(id);
  if (row === undefined) throw notFound("job", id);
  if (isSame(row, answer)) return toJob(row);
  if (isFinal(row.status)) throw wrongState(row, `has ${row.status} already`);
  if (!(await isOpen(rows, id, questionSeq))) {
    throw wrongState(row, `asks nothing at event ${questionSeq}, or not any more`);
  }
  const text = toJsonString(AgentAnswerSchema, answer);
  const marked = await rows.markAnswer(id, questionSeq, text);
  if (marked !== undefined) return toJob(marked);
  // Somebody was quicker: with the same answer, or with another.
  const now = await rows.find(id);
  if (now !== undefined && isSame(now, answer)) return toJob(now);
  throw wrongState(now ?? row, `was answered at event ${questionSeq} already, or has ended`);
}

/** What the agent of a job that runs asks now, in words; undefined if it asks nothing. */
export async function openQuestion(
  rows: Pick<AnswerRows, "readEvents">,
  { id, status, spec, lastSeq }: Job,
): Promise<string | undefined> {
  if (status !== JobStatus.RUNNING || spec?.work.case !== "agent") return undefined;
  const from = Math.max(1, lastSeq - lookBack);
  const events = await rows.readEvents(id, from, lookLimits);
  const last = events.findLast((event) => closing.has(topicOf(event)));
  if (last === undefined || topicOf(last) !== questionTopic) return undefined;
  return last.kind.case === "note" ? last.kind.value.message : "";
}

/** The answer of a row; undefined before the first. */
export function toAnswer(text: string): AgentAnswer | undefined {
  return text === ""
    ? undefined
    : fromJsonString(AgentAnswerSchema, text, { ignoreUnknownFields: true });
}

function isSame(row: JobRow, answer: AgentAnswer): boolean {
  const given = toAnswer(row.answer);
  if (given === undefined || Number(row.answer_seq) !== answer.questionSeq) return false;
  return equals(AgentAnswerSchema, given, create(AgentAnswerSchema, answer));
}

async function isOpen(rows: AnswerRows, id: string, questionSeq: number): Promise<boolean> {
  const [asked, ...rest] = await rows.readEvents(id, questionSeq, lookLimits);
  if (asked?.seq !== questionSeq || topicOf(asked) !== questionTopic) return false;
  const isWhole = rest.length + 1 < lookLimits.maxEvents;
  return (
    isWhole && !rest.some((event) => closing.has(topicOf(event)) || event.kind.case === "result")
  );
}

function topicOf({ kind }: JobEvent): string {
  return kind.case === "note" ? kind.value.topic : "";
}

function wrongState({ id, status }: JobRow, why: string): DevmeshError {
  return new DevmeshError("WRONG_STATE", `job ${id} ${why}`, { metadata: { state: status } });
}
