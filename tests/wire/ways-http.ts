/** Ways in that are plain HTTP requests: REST, and Connect's JSON by hand. */
import {
  create,
  type DescMessage,
  type DescMethod,
  fromBinary,
  fromJson,
  fromJsonString,
  type JsonObject,
  type JsonValue,
  type MessageInitShape,
  type MessageShape,
  toJson,
} from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { ErrorInfoSchema } from "@devmesh/gen/google/rpc/error_details_pb";
import { codeOf, isReason, type Problem, statusOf } from "@devmesh/mesh/errors";
import { type Answer, type Sender, textOfAnswer } from "./http-senders.ts";
import { readEvents } from "./sse-reader.ts";
import { gather } from "./waiting.ts";
import { type CallOptions, type Way, WireFailure } from "./ways.ts";

/** The routes that the contracts name; a variable in braces. */
const routes: Record<string, { verb: string; path: string; body?: string }> = {
  ProbeHost: { verb: "GET", path: "/v1/host" },
  DeleteSandbox: { verb: "DELETE", path: "/v1/sandboxes/{id}" },
  Infer: { verb: "POST", path: "/v1/llm/infer", body: "*" },
  WatchJob: { verb: "GET", path: "/v1/jobs/{id}/events" },
};

/** REST as `google.api.http` says it. */
export function restWay(name: string, sender: Sender): Way {
  const send = async (method: DescMethod, input: JsonValue, options: CallOptions = {}) => {
    const route = routes[method.name];
    if (route === undefined) throw new Error(`${method.name} has no REST route`);
    const rest = { ...(input as JsonObject) };
    const path = route.path.replace(/\{(\w+)\}/g, (_, field: string) => {
      const value = encodeURIComponent(String(rest[field] ?? ""));
      delete rest[field];
      return value;
    });
    const query = new URLSearchParams(rest as Record<string, string>);
    const body = route.body && { body: JSON.stringify(rest) };
    const target = body || query.size === 0 ? path : `${path}?${query}`;
    const type = body && { "content-type": "application/json" };
    const headers = { ...type, ...options.headers };
    const asked = { method: route.verb, path: target, headers, signal: options.signal };
    const answer = await sender.send({ ...asked, ...body });
    if (answer.status !== 200) throw await problemOf(answer);
    return answer;
  };
  return {
    name,
    tellsDeadline: false,
    async unary(method, input, options) {
      const answer = await send(method, jsonOf(method.input, input), options);
      return fromJsonString(method.output, await textOfAnswer(answer));
    },
    async *serverStream(method, input, options = {}) {
      const headers = { ...options.headers, accept: "text/event-stream" };
      const answer = await send(method, jsonOf(method.input, input), { ...options, headers });
      for await (const { type, data } of readEvents(answer.chunks)) {
        if (type === "error") throw failureOfProblem(JSON.parse(data) as Problem);
        yield fromJsonString(method.output, data);
      }
    },
    close: sender.close,
  };
}

async function problemOf(answer: Answer): Promise<unknown> {
  const problem = JSON.parse(await textOfAnswer(answer)) as Problem;
  if (problem.status !== answer.status) return new Error("the problem has another status");
  return failureOfProblem(problem);
}

function failureOfProblem({ reason, detail, metadata, requestId, status }: Problem): unknown {
  if (!isReason(reason) || statusOf(reason) !== status) return new Error(`${reason}: ${status}`);
  return new WireFailure(detail, { code: codeOf(reason), reason, metadata, requestId });
}

/** Connect's protocol with JSON, framed by hand. */
export function connectJsonWay(name: string, sender: Sender): Way {
  const post = (method: DescMethod, type: string, body: Uint8Array, options: CallOptions = {}) => {
    const { headers, timeoutMs, signal } = options;
    const timeout = timeoutMs !== undefined && { "connect-timeout-ms": String(timeoutMs) };
    return sender.send({
      method: "POST",
      path: `/${method.parent.typeName}/${method.name}`,
      headers: { "content-type": type, "connect-protocol-version": "1", ...timeout, ...headers },
      body: new Uint8Array(body),
      signal,
    });
  };
  return {
    name,
    tellsDeadline: true,
    async unary(method, input, options) {
      const body = Buffer.from(JSON.stringify(jsonOf(method.input, input)));
      const answer = await post(method, "application/json", body, options);
      const text = await textOfAnswer(answer);
      if (answer.status === 200) return fromJsonString(method.output, text);
      throw failureOfJson(JSON.parse(text) as ConnectJsonError, answer.header("x-request-id"));
    },
    async *serverStream(method, input, options) {
      const body = frame(JSON.stringify(jsonOf(method.input, input)));
      const answer = await post(method, "application/connect+json", body, options);
      for await (const text of unframed(answer)) yield fromJson(method.output, JSON.parse(text));
    },
    async clientStream(method, inputs, options) {
      const all = await gather(inputs);
      const body = Buffer.concat(
        all.map((input) => frame(JSON.stringify(jsonOf(method.input, input)))),
      );
      const answer = await post(method, "application/connect+json", body, options);
      const [text = ""] = await gather(unframed(answer));
      return fromJsonString(method.output, text);
    },
    close: sender.close,
  };
}

interface ConnectJsonError {
  readonly code: string;
  readonly message: string;
  readonly details?: readonly { readonly type: string; readonly value: string }[];
}

function failureOfJson(error: ConnectJsonError, requestId: string): WireFailure {
  const detail = error.details?.find(({ type }) => type === ErrorInfoSchema.typeName);
  const bytes = Buffer.from(detail?.value ?? "", "base64");
  const { reason, metadata } = fromBinary(ErrorInfoSchema, bytes);
  const pascal = error.code.replace(/(?:^|_)(.)/g, (_, first: string) => first.toUpperCase());
  const code = Code[pascal as keyof typeof Code];
  return new WireFailure(error.message, { code, reason, metadata, requestId });
}

function frame(text: string): Buffer {
  const body = Buffer.from(text);
  const head = Buffer.alloc(5);
  head.writeUInt32BE(body.length, 1);
  return Buffer.concat([head, body]);
}

/** The messages of a framed answer; the last frame may hold an error. */
async function* unframed({ chunks }: Answer): AsyncIterable<string> {
  let rest = Buffer.alloc(0);
  for await (const chunk of chunks) {
    rest = Buffer.concat([rest, chunk]);
    while (rest.length >= 5 && rest.length >= 5 + rest.readUInt32BE(1)) {
      const end = 5 + rest.readUInt32BE(1);
      const text = rest.toString("utf8", 5, end);
      if (rest[0] === 2) {
        const { error, metadata } = JSON.parse(text) as EndOfStream;
        if (error) throw failureOfJson(error, metadata?.["x-request-id"]?.[0] ?? "");
        return;
      }
      yield text;
      rest = rest.subarray(end);
    }
  }
  throw new Error("the stream had no end");
}

interface EndOfStream {
  readonly error?: ConnectJsonError;
  readonly metadata?: Record<string, string[]>;
}

function jsonOf<T extends DescMessage>(schema: T, input: MessageInitShape<T>): JsonValue {
  const message: MessageShape<T> = create(schema, input);
  return toJson(schema, message);
}
