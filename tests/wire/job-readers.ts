/** Every way to read a job's events, with one result: a line for each event that no two events share. */
import { createHash } from "node:crypto";
import { fromJsonString, toJson } from "@bufbuild/protobuf";
import { timestampDate } from "@bufbuild/protobuf/wkt";
import {
  type JobEvent,
  JobNoteSchema,
  JobStatusChangeSchema,
  JobTrimSchema,
  LogStream,
} from "@devmesh/gen/devmesh/api/v1/job_event_pb";
import { JobResultSchema } from "@devmesh/gen/devmesh/api/v1/job_result_pb";
import {
  JobService,
  ListJobEventsResponseSchema,
} from "@devmesh/gen/devmesh/api/v1/job_service_pb";
import { WebSocket } from "ws";
import { allWays } from "./all-ways.ts";
import type { Served } from "./ways.ts";

const { watchJob } = JobService.method;

/** Reads a job's events from a number on until its end. */
export interface JobReader {
  readonly name: string;
  read(id: string, from: number): Promise<string[]>;
  close(): void;
}

/** Number, time, kind, and every byte of what an event says. */
export function lineOf({ seq, time, kind }: JobEvent): string {
  const at = time === undefined ? "" : timestampDate(time).toISOString();
  switch (kind.case) {
    case "log": {
      const { stream, data } = kind.value;
      return logLine(seq, at, stream === LogStream.STDERR ? "stderr" : "stdout", data);
    }
    case "status":
      return otherLine(seq, at, "status", toJson(JobStatusChangeSchema, kind.value));
    case "note":
      return otherLine(seq, at, "note", toJson(JobNoteSchema, kind.value));
    case "result":
      return otherLine(seq, at, "result", toJson(JobResultSchema, kind.value));
    case "trim":
      return otherLine(seq, at, "trim", toJson(JobTrimSchema, kind.value));
    case undefined:
      return `${seq} ${at} nothing`;
  }
}

function logLine(seq: number, at: string, stream: string, data: Uint8Array): string {
  const digest = createHash("sha256").update(data).digest("hex");
  return `${seq} ${at} log ${stream} ${data.length} ${digest}`;
}

function otherLine(seq: number, at: string, kind: string, said: unknown): string {
  return `${seq} ${at} ${kind} ${JSON.stringify(said)}`;
}

/** All of them for one server. Close them before it ends. */
export function jobReaders(server: Served, secret: string): JobReader[] {
  const headers = { authorization: `Bearer ${secret}` };
  const streams = allWays(server).map(
    (way): JobReader => ({
      name: way.name,
      read: (id, from) => linesOf(way.serverStream(watchJob, { id, from }, { headers })),
      close: way.close,
    }),
  );
  const rest = allWays(server).filter(({ name }) => name.startsWith("REST"));
  const resumed = rest.map(
    (way): JobReader => ({
      name: `${way.name} by Last-Event-ID`,
      read: (id, from) => {
        const last = from === 0 ? undefined : { "last-event-id": String(from - 1) };
        return linesOf(way.serverStream(watchJob, { id }, { headers: { ...headers, ...last } }));
      },
      close: way.close,
    }),
  );
  const none = () => {};
  return [
    ...streams,
    ...resumed,
    { name: "WebSocket", read: (id, from) => bySocket(server, secret, id, from), close: none },
  ];
}

/** REST's pages: what is there now. */
export function pageReader({ url }: Served, secret: string, pageSize: number): JobReader {
  // A connection that idled meanwhile may be closed just when it is taken again.
  const headers = { authorization: `Bearer ${secret}`, connection: "close" };
  return {
    name: `pages of ${pageSize}`,
    async read(id, from) {
      const lines: string[] = [];
      for (let next = from; ; ) {
        const query = new URLSearchParams({ from: String(next), pageSize: String(pageSize) });
        const res = await fetch(`${url}/v1/jobs/${id}/events?${query}`, { headers });
        if (res.status !== 200) throw new Error(`status ${res.status}: ${await res.text()}`);
        const page = fromJsonString(ListJobEventsResponseSchema, await res.text());
        lines.push(...page.events.map(lineOf));
        if (page.nextFrom === 0 || page.events.length === 0) return lines;
        next = page.nextFrom;
      }
    },
    close: () => {},
  };
}

interface Step {
  readonly step: { readonly case: string | undefined; readonly value?: unknown };
}

async function linesOf(messages: AsyncIterable<Step>): Promise<string[]> {
  const lines: string[] = [];
  for await (const { step } of messages) {
    if (step.case === "event") lines.push(lineOf(step.value as JobEvent));
  }
  return lines;
}

/** Its frames have their own shape: they are read here and nowhere else. */
function bySocket(server: Served, secret: string, id: string, from: number): Promise<string[]> {
  const url = `ws://127.0.0.1:${server.port}/v1/stream/${id}?from=${from}`;
  const socket = new WebSocket(url, ["devmesh.v1", `bearer.${secret}`]);
  const lines: string[] = [];
  return new Promise((resolve, reject) => {
    socket.on("error", reject);
    socket.on("message", (text) => {
      const { type, ts, payload } = JSON.parse(String(text));
      const { seq, ...said } = payload;
      if (type === "heartbeat") return;
      if (type === "log") lines.push(logLine(seq, ts, said.stream, bytesOf(said)));
      else lines.push(otherLine(seq, ts, type, said));
    });
    socket.on("close", (code, reason) => {
      if (code === 1000) resolve(lines);
      else reject(new Error(`closed with ${code} ${reason}`));
    });
  });
}

function bytesOf({ text, dataBase64 }: { text?: string; dataBase64?: string }): Uint8Array {
  return text === undefined ? Buffer.from(dataBase64 ?? "", "base64") : Buffer.from(text);
}
