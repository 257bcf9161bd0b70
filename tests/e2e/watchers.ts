/** The four ways to watch a job live, each down to the same plain list of what it saw. */
import { createHash } from "node:crypto";
import { fromBinary, fromJson, type JsonValue, toBinary } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import { LogStream } from "@devmesh/gen/devmesh/api/v1/job_event_pb";
import {
  GetJobRequestSchema,
  GetJobResponseSchema,
  JobService,
  WatchJobRequestSchema,
  type WatchJobResponse,
  WatchJobResponseSchema,
} from "@devmesh/gen/devmesh/api/v1/job_service_pb";
import { Client, credentials, Metadata } from "@grpc/grpc-js";
import { within } from "./wait.ts";

/** Who watches what. */
export interface WatchInput {
  readonly url: string;
  readonly token: string;
  readonly id: string;
  /** The first number wanted. */
  readonly from: number;
  /** Leave after so many events. Default: at the end. */
  readonly leaveAfter?: number;
}

/** One event as a watcher saw it. */
export interface Seen {
  readonly seq: number;
  /** `status`, `note`, `result`; `stdout` or `stderr` for a log. */
  readonly kind: string;
  /** Of a log. */
  readonly data: Buffer;
}

/** Watches a job and answers what it saw. */
export type Watcher = (input: WatchInput) => Promise<Seen[]>;

/** SHA-256 and number of the log bytes, and all event numbers. */
export function summaryOf(seen: readonly Seen[]) {
  const hash = createHash("sha256");
  let bytes = 0;
  for (const { data } of seen) {
    hash.update(data);
    bytes += data.length;
  }
  return { sha256: hash.digest("hex"), bytes, seqs: seen.map(({ seq }) => seq) };
}

const none = Buffer.alloc(0);

function ofMessage({ step }: WatchJobResponse): Seen | undefined {
  if (step.case !== "event") return undefined;
  const { seq, kind } = step.value;
  if (kind.case !== "log") return { seq, kind: kind.case ?? "", data: none };
  const { stream, data } = kind.value;
  return { seq, kind: LogStream[stream].toLowerCase(), data: Buffer.from(data) };
}

async function collect(
  steps: AsyncIterable<Seen | undefined>,
  { leaveAfter = Number.POSITIVE_INFINITY }: WatchInput,
): Promise<Seen[]> {
  const seen: Seen[] = [];
  for await (const step of steps) {
    if (step !== undefined) seen.push(step);
    if (seen.length >= leaveAfter) break;
  }
  return seen;
}

/** The Connect protocol over HTTP/1.1. */
const connect: Watcher = (input) => {
  const transport = createConnectTransport({ baseUrl: input.url, httpVersion: "1.1" });
  const client = createClient(JobService, transport);
  const { id, from, token } = input;
  const headers = { authorization: `Bearer ${token}` };
  return collect(mapped(client.watchJob({ id, from }, { headers }), ofMessage), input);
};

/** Server-sent events; a reader that comes back says so by `Last-Event-ID`. */
const sse: Watcher = async (input) => {
  const { url, id, from, token } = input;
  const left = new AbortController();
  const res = await fetch(`${url}/v1/jobs/${id}/events`, {
    signal: left.signal,
    headers: {
      authorization: `Bearer ${token}`,
      accept: "text/event-stream",
      ...(from > 1 && { "last-event-id": String(from - 1) }),
    },
  });
  if (res.status !== 200 || res.body === null) throw new Error(`SSE: ${await res.text()}`);
  const frames = mapped(blocksOf(res.body), (block) => {
    const data = /^data: (.*)$/m.exec(block)?.[1];
    if (data === undefined || block.startsWith("event: error")) throw new Error(block);
    const seen = ofMessage(fromJson(WatchJobResponseSchema, JSON.parse(data) as JsonValue));
    const shown = /^id: (\d+)$/m.exec(block)?.[1];
    if (seen !== undefined && Number(shown) !== seen.seq) throw new Error(`id: ${shown}`);
    return seen;
  });
  try {
    return await collect(frames, input);
  } finally {
    left.abort();
  }
};

async function* blocksOf(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  const parts: string[] = [];
  for await (const chunk of body) {
    parts.push(decoder.decode(chunk, { stream: true }));
    // A long line comes in many pieces: they are joined once, when it ends.
    if (!parts.at(-1)?.includes("\n")) continue;
    const blocks = parts.splice(0).join("").split("\n\n");
    parts.push(blocks.pop() ?? "");
    yield* blocks;
  }
}

/** JSON frames on a WebSocket, with the token where a browser puts it. */
const webSocket: Watcher = async (input) => {
  const { url, id, from, token, leaveAfter = Number.POSITIVE_INFINITY } = input;
  const at = `${url.replace("http", "ws")}/v1/stream/${id}?from=${from}`;
  const socket = new WebSocket(at, ["devmesh.v1", `bearer.${token}`]);
  const seen: Seen[] = [];
  const closed = new Promise<void>((resolve, reject) => {
    socket.onerror = () => reject(new Error("the WebSocket broke"));
    socket.onclose = () => resolve();
    socket.onmessage = ({ data }) => {
      const { type, ts, payload } = JSON.parse(String(data)) as SocketFrame;
      if (type === "error" || Number.isNaN(Date.parse(ts))) reject(new Error(String(data)));
      if (type === "heartbeat" || seen.length >= leaveAfter) return;
      const bytes =
        payload.dataBase64 === undefined
          ? Buffer.from(payload.text ?? "")
          : Buffer.from(payload.dataBase64, "base64");
      const isLog = type === "log";
      const kind = isLog ? payload.stream : type;
      seen.push({ seq: payload.seq, kind, data: isLog ? bytes : none });
      if (seen.length >= leaveAfter) socket.close();
    };
  });
  await closed;
  return seen;
};

interface SocketFrame {
  readonly type: string;
  readonly ts: string;
  readonly payload: {
    readonly seq: number;
    readonly stream: string;
    readonly text?: string;
    readonly dataBase64?: string;
  };
}

/** gRPC by grpc-js, which is not the platform's own client of its public door. */
const grpc: Watcher = async (input) => {
  const { client, metadata } = grpcClient(input);
  const { id, from } = input;
  const call = client.makeServerStreamRequest(
    "/devmesh.api.v1.JobService/WatchJob",
    (message: { id: string; from: number }) =>
      Buffer.from(
        toBinary(WatchJobRequestSchema, { ...message, $typeName: WatchJobRequestSchema.typeName }),
      ),
    (bytes: Buffer) => fromBinary(WatchJobResponseSchema, bytes),
    { id, from },
    metadata,
  );
  // Leaving early cancels the call, which is told as an error that nobody awaits.
  call.on("error", () => {});
  try {
    return await collect(mapped(call as AsyncIterable<WatchJobResponse>, ofMessage), input);
  } finally {
    call.cancel();
    client.close();
  }
};

/** One job by a unary call of grpc-js. */
export function getJobByGrpc(input: Pick<WatchInput, "url" | "token" | "id">) {
  const { client, metadata } = grpcClient(input);
  const answer = new Promise<ReturnType<typeof parseJob>>((resolve, reject) => {
    client.makeUnaryRequest(
      "/devmesh.api.v1.JobService/GetJob",
      (message: { id: string }) =>
        Buffer.from(
          toBinary(GetJobRequestSchema, { ...message, $typeName: GetJobRequestSchema.typeName }),
        ),
      parseJob,
      { id: input.id },
      metadata,
      (error, response) => (response === undefined ? reject(error) : resolve(response)),
    );
  });
  return within("GetJob by gRPC", answer).finally(() => client.close());
}

const parseJob = (bytes: Buffer) => fromBinary(GetJobResponseSchema, bytes);

function grpcClient({ url, token }: Pick<WatchInput, "url" | "token">) {
  const metadata = new Metadata();
  metadata.set("authorization", `Bearer ${token}`);
  return { client: new Client(new URL(url).host, credentials.createInsecure()), metadata };
}

async function* mapped<A, B>(source: AsyncIterable<A>, map: (item: A) => B): AsyncGenerator<B> {
  for await (const item of source) yield map(item);
}

/** All of them by name. */
export const watchers: Readonly<Record<string, Watcher>> = { connect, sse, webSocket, grpc };
