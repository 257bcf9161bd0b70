/**
 * `GET /v1/jobs/{id}/log`: the bytes of one attempt's output, whole or a range
 * of them, read by the bound methods of JobService, so that scopes and owners
 * hold as everywhere and a slow reader is shed as any watcher.
 */
import { create } from "@bufbuild/protobuf";
import { type JobEvent, LogStream } from "@devmesh/gen/devmesh/api/v1/job_event_pb";
import type { Job } from "@devmesh/gen/devmesh/api/v1/job_pb";
import {
  GetJobRequestSchema,
  type GetJobResponse,
  JobService,
  WatchJobRequestSchema,
  type WatchJobResponse,
} from "@devmesh/gen/devmesh/api/v1/job_service_pb";
import { invalidField, notFound } from "@devmesh/mesh/errors";
import {
  type BoundMethod,
  callOf,
  type HttpExchange,
  type HttpHandler,
  methodNotAllowed,
} from "@devmesh/mesh/server";
import { type ByteRange, byteRange } from "./byte-range.ts";
import {
  type LogQuery,
  type LogSurvey,
  outputOf,
  type ReadEvents,
  surveyLog,
} from "./log-survey.ts";

/** Surveys of ended jobs that are remembered: ranges of one log cost one survey. */
const surveysKept = 64;

/** What is written at once, in bytes; roughly. */
const chunkBytes = 64 << 10;

/** Handles the route. */
export function createJobLogHandler(methods: readonly BoundMethod[]): HttpHandler {
  const logs = new JobLogs(methods);
  return async (exchange) => {
    const id = /^\/v1\/jobs\/([^/:]+)\/log$/.exec(exchange.url.pathname)?.[1];
    if (id === undefined) return false;
    if (exchange.verb !== "GET" && exchange.verb !== "HEAD") {
      throw methodNotAllowed(exchange.url.pathname, ["GET"]);
    }
    await logs.answer(exchange, decoded(id));
    return true;
  };
}

/** The text without its escapes; as it is if they are broken: no job has such an id. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

class JobLogs {
  readonly #getJob: BoundMethod;
  readonly #watchJob: BoundMethod;
  /** By job and query, the oldest first. */
  readonly #surveys = new Map<string, LogSurvey>();

  constructor(methods: readonly BoundMethod[]) {
    const find = (desc: unknown): BoundMethod => {
      const found = methods.find((method) => method.desc === desc);
      if (found === undefined) throw new Error("JobService is not served");
      return found;
    };
    this.#getJob = find(JobService.method.getJob);
    this.#watchJob = find(JobService.method.watchJob);
  }

  async answer(exchange: HttpExchange, id: string): Promise<void> {
    const job = await this.#job(exchange, id);
    const query = queryOf(exchange, job);
    const readEvents: ReadEvents = (from) => this.#events(exchange, id, from);
    const survey = await this.#survey(job, query, readEvents);
    const etag = etagOf(job, query);
    const range = rangeOf(exchange, survey.bytes, etag);
    const { res } = exchange;
    res.setHeader("accept-ranges", "bytes");
    res.setHeader("content-type", "application/octet-stream");
    res.setHeader("x-content-type-options", "nosniff");
    res.setHeader("cache-control", "private, no-cache");
    if (etag !== "") res.setHeader("etag", etag);
    if (etag !== "" && range === "whole" && exchange.header("if-none-match") === etag) {
      res.writeHead(304);
      res.end();
      return;
    }
    if (range === "unsatisfiable") {
      res.writeHead(416, { "content-range": `bytes */${survey.bytes}`, "content-length": "0" });
      res.end();
      return;
    }
    const { start, end } = range === "whole" ? { start: 0, end: survey.bytes } : range;
    res.setHeader("content-length", String(end - start));
    if (range !== "whole") {
      res.setHeader("content-range", `bytes ${start}-${end - 1}/${survey.bytes}`);
    }
    const chunks = logChunks({ survey, query, range: { start, end }, readEvents });
    await send(exchange, range === "whole" ? 200 : 206, chunks);
  }

  async #job(exchange: HttpExchange, id: string): Promise<Job> {
    const message = create(GetJobRequestSchema, { id });
    const res = await this.#getJob.unary(message, callOf(exchange, "rest"));
    const requestId = res.header.get("x-request-id");
    if (requestId !== null) exchange.res.setHeader("x-request-id", requestId);
    const { job } = res.message as GetJobResponse;
    if (job === undefined) throw notFound("job", id);
    return job;
  }

  async *#events(exchange: HttpExchange, id: string, from: number): AsyncGenerator<JobEvent> {
    const message = create(WatchJobRequestSchema, { id, from });
    const res = await this.#watchJob.stream(once(message), callOf(exchange, "rest"));
    for await (const { step } of res.message as AsyncIterable<WatchJobResponse>) {
      if (step.case === "event") yield step.value;
    }
  }

  async #survey(job: Job, query: LogQuery, readEvents: ReadEvents): Promise<LogSurvey> {
    const key = `${query.id} ${query.attempt} ${query.stream ?? ""}`;
    const known = this.#surveys.get(key);
    if (known !== undefined) return known;
    const survey = await surveyLog(query, job.lastSeq, readEvents);
    if (job.result !== undefined) {
      this.#surveys.set(key, survey);
      const [oldest] = this.#surveys.keys();
      if (this.#surveys.size > surveysKept && oldest !== undefined) this.#surveys.delete(oldest);
    }
    return survey;
  }
}

async function* once<T>(message: T) {
  yield message;
}

/** The log that the address asks for. Throws INVALID_FIELD, and NOT_FOUND before the first attempt. */
function queryOf(exchange: HttpExchange, job: Job): LogQuery {
  const query = exchange.url.searchParams;
  for (const name of query.keys()) {
    if (name !== "attempt" && name !== "stream") {
      throw invalidField(name || '""', "there is no such parameter, only attempt and stream");
    }
  }
  const asked = query.get("attempt");
  if (asked !== null && !/^[1-9]\d{0,8}$/.test(asked)) {
    throw invalidField("attempt", "wants a number from 1");
  }
  const attempt = asked === null ? job.attempt : Number(asked);
  if (attempt === 0) throw notFound("log", `${job.id}: the job has not run yet`);
  const stream = query.get("stream");
  if (stream === null) return { id: job.id, attempt };
  if (stream === "stdout") return { id: job.id, attempt, stream: LogStream.STDOUT };
  if (stream === "stderr") return { id: job.id, attempt, stream: LogStream.STDERR };
  throw invalidField("stream", "wants stdout or stderr");
}

/** Of an ended job: nothing of it changes any more. */
function etagOf({ result, attempt }: Job, query: LogQuery): string {
  if (result === undefined || result.logSha256 === "") return "";
  if (query.attempt === attempt && query.stream === undefined) return `"${result.logSha256}"`;
  return `"${result.logSha256}.${query.attempt}.${query.stream ?? 0}"`;
}

function rangeOf(
  exchange: HttpExchange,
  size: number,
  etag: string,
): ByteRange | "unsatisfiable" | "whole" {
  const condition = exchange.header("if-range");
  // Another log than the one the client has a part of: it gets the whole.
  if (condition !== "" && condition !== etag) return "whole";
  return byteRange(exchange.header("range"), size) ?? "whole";
}

async function send(
  exchange: HttpExchange,
  status: number,
  chunks: AsyncGenerator<Uint8Array>,
): Promise<void> {
  try {
    if (exchange.verb === "HEAD") {
      exchange.res.writeHead(status);
      exchange.res.end();
      return;
    }
    // The first bytes come before the head, so that a refusal has its status.
    let next = await chunks.next();
    exchange.res.writeHead(status);
    for (; next.done !== true; next = await chunks.next()) await exchange.write(next.value);
    exchange.res.end();
  } finally {
    await chunks.return(undefined);
  }
}

/** What is to be read, and from where. */
interface ChunksOptions {
  readonly survey: LogSurvey;
  readonly query: LogQuery;
  readonly range: ByteRange;
  readonly readEvents: ReadEvents;
}

/** The range's bytes. Throws NOT_FOUND if retention removes the log meanwhile. */
async function* logChunks(options: ChunksOptions): AsyncGenerator<Uint8Array> {
  const { survey, query, range, readEvents } = options;
  if (range.start === range.end) return;
  const mark = survey.marks.findLast(({ offset }) => offset <= range.start);
  let offset = mark?.offset ?? 0;
  let pieces: Uint8Array[] = [];
  let size = 0;
  for await (const event of readEvents(mark?.seq ?? 1)) {
    if (event.kind.case === "trim" || event.seq > survey.lastSeq) break;
    const data = outputOf(event, query.stream);
    if (data === undefined) continue;
    const piece = data.subarray(Math.max(0, range.start - offset), range.end - offset);
    offset += data.length;
    pieces.push(piece);
    size += piece.length;
    if (size < chunkBytes && offset < range.end) continue;
    yield Buffer.concat(pieces);
    if (offset >= range.end) return;
    pieces = [];
    size = 0;
  }
  throw notFound("log (retention has removed it)", query.id);
}

/** The route in the OpenAPI document. */
export const jobLogPaths = {
  "/v1/jobs/{id}/log": {
    get: {
      operationId: "JobService_GetJobLog",
      tags: ["JobService"],
      security: [{ bearer: [] }],
      "x-scope": "read:jobs",
      parameters: [
        { name: "id", in: "path", required: true, schema: { type: "string" } },
        { name: "attempt", in: "query", schema: { type: "integer", minimum: 1 } },
        { name: "stream", in: "query", schema: { type: "string", enum: ["stdout", "stderr"] } },
        { name: "Range", in: "header", schema: { type: "string" } },
        { name: "If-Range", in: "header", schema: { type: "string" } },
      ],
      responses: {
        "200": { description: "The log", content: { "application/octet-stream": {} } },
        "206": { description: "The range", content: { "application/octet-stream": {} } },
        "416": { description: "The range lies behind the end" },
        default: {
          description: "A problem (RFC 9457); `reason` is from devmesh.errors.v1.ErrorReason",
          content: {
            "application/problem+json": { schema: { $ref: "#/components/schemas/Problem" } },
          },
        },
      },
    },
  },
};
