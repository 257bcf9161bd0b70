/** The fake's `WS /v1/stream/{id}?from=N`. */
import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { toJson } from "@bufbuild/protobuf";
import { timestampDate } from "@bufbuild/protobuf/wkt";
import {
  type JobEvent,
  JobNoteSchema,
  JobStatusChangeSchema,
  JobTrimSchema,
  LogStream,
} from "@devmesh/gen/devmesh/api/v1/job_event_pb";
import { JobResultSchema } from "@devmesh/gen/devmesh/api/v1/job_result_pb";
import { type WebSocket, WebSocketServer } from "ws";
import type { FakeJobs } from "./fake-jobs.ts";

const heartbeatMs = 5_000;

/** Takes upgrades; `isAllowed` judges the token that was shown. */
export class FakeStream {
  readonly #jobs: FakeJobs;
  readonly #isAllowed: (secret: string | undefined) => boolean;
  readonly #server = new WebSocketServer({
    noServer: true,
    handleProtocols: (offered) => (offered.has("devmesh.v1") ? "devmesh.v1" : false),
  });
  /** `from` of every stream so far. */
  readonly opened: number[] = [];

  constructor(jobs: FakeJobs, isAllowed: (secret: string | undefined) => boolean) {
    this.#jobs = jobs;
    this.#isAllowed = isAllowed;
  }

  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const url = new URL(request.url ?? "/", "http://fake");
    const id = /^\/v1\/stream\/([^/]+)$/.exec(url.pathname)?.[1];
    if (id === undefined) return void socket.destroy();
    const offered = request.headers["sec-websocket-protocol"]?.split(/\s*,\s*/) ?? [];
    const secret = offered.find((protocol) => protocol.startsWith("bearer."))?.slice(7);
    this.#server.handleUpgrade(request, socket, head, (client) => {
      const from = Number(url.searchParams.get("from") ?? 1);
      this.opened.push(from);
      if (!this.#isAllowed(secret)) refuse(client, "UNAUTHENTICATED", "the token is not known");
      else if (!this.#jobs.all().some(({ job }) => job.id === id)) {
        refuse(client, "NOT_FOUND", `there is no job ${id}`);
      } else this.#serve(client, id, from);
    });
  }

  /** Cuts every connection without a goodbye. */
  cut(): void {
    for (const client of this.#server.clients) client.terminate();
  }

  #serve(client: WebSocket, id: string, from: number): void {
    const { events } = this.#jobs.entry(id);
    let next = Math.max(1, from);
    const send = () => {
      for (; next <= events.length && client.readyState === client.OPEN; next++) {
        const event = events[next - 1];
        if (event === undefined) return;
        client.send(JSON.stringify(frameOf(event)));
        if (event.kind.case === "result") client.close(1000);
      }
    };
    const stopListening = this.#jobs.onEvent(send);
    const beating = setInterval(() => {
      const frame = { type: "heartbeat", ts: new Date().toISOString(), payload: {} };
      client.send(JSON.stringify(frame));
    }, heartbeatMs);
    client.on("close", () => {
      stopListening();
      clearInterval(beating);
    });
    send();
  }
}

function refuse(client: WebSocket, reason: string, detail: string): void {
  const ts = new Date().toISOString();
  client.send(JSON.stringify({ type: "error", ts, payload: { reason, detail, status: 404 } }));
  client.close(1008);
}

function frameOf({ seq, time, kind }: JobEvent): object {
  const ts = (time === undefined ? new Date(0) : timestampDate(time)).toISOString();
  const frame = (type: string, payload: unknown) => ({
    type,
    ts,
    payload: { seq, ...(payload as object) },
  });
  switch (kind.case) {
    case "log": {
      const stream = kind.value.stream === LogStream.STDERR ? "stderr" : "stdout";
      try {
        const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(
          kind.value.data,
        );
        return frame("log", { stream, text });
      } catch {
        // Not UTF-8 by itself: a character is cut, or these are other bytes.
        const dataBase64 = Buffer.from(kind.value.data).toString("base64");
        return frame("log", { stream, dataBase64 });
      }
    }
    case "status":
      return frame("status", toJson(JobStatusChangeSchema, kind.value));
    case "result":
      return frame("result", toJson(JobResultSchema, kind.value));
    case "note":
      return frame("note", toJson(JobNoteSchema, kind.value));
    case "trim":
      return frame("trim", toJson(JobTrimSchema, kind.value));
    case undefined:
      return frame("note", {});
    default:
      return kind satisfies never;
  }
}
