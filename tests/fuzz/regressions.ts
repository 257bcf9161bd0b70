/** Requests that once broke something, each with what it is answered now. */
import type { Request } from "./cases.ts";
import { frame } from "./wire.ts";

/** A request, and the refusal that it gets. */
export interface Regression {
  readonly name: string;
  readonly request: Request;
  /** The refusal's reason. */
  readonly outcome: string;
  /** The field that it names. */
  readonly field?: string;
}

const jobs = "/devmesh.api.v1.JobService";
const plain = { broken: false, endless: false, verb: "POST", headers: [] } as const;
const json = [["content-type", "application/json"]] as const;
const proto = [["content-type", "application/proto"]] as const;
const grpc = [
  ["content-type", "application/grpc"],
  ["te", "trailers"],
] as const;
const web = [["content-type", "application/grpc-web+proto"]] as const;

const connect = (name: string, body: string | Buffer, rest: Partial<Request> = {}): Request => ({
  ...plain,
  shape: "connect",
  path: `${jobs}/${name}`,
  headers: json,
  body: Buffer.from(body),
  ...rest,
});

const byGrpc = (body: Buffer, rest: Partial<Request> = {}): Request => ({
  ...plain,
  shape: "grpc",
  path: `${jobs}/GetJob`,
  headers: grpc,
  body,
  ...rest,
});

const command = { command: { argv: ["true"] } };
const spec = (fields: object) => JSON.stringify({ spec: { ...command, ...fields } });

/** All of them. */
export const regressions: readonly Regression[] = [
  {
    name: "Connect, bytes that are no message: was 500 internal",
    request: connect("GetJob", Buffer.from([10, 65, 109]), { headers: proto }),
    outcome: "MALFORMED_BODY",
  },
  {
    name: "Connect by GET, bytes that are no message: was 500 internal",
    request: connect("GetJob", "", {
      verb: "GET",
      headers: [],
      path: `${jobs}/GetJob?encoding=proto&message=CkFt&base64=1&connect=v1`,
    }),
    outcome: "MALFORMED_BODY",
  },
  {
    name: "Connect, a text where a number is wanted: named no field",
    request: connect("ListJobs", '{"pageSize":true}'),
    outcome: "INVALID_FIELD",
    field: "pageSize",
  },
  {
    name: "Connect, a misspelt word of an enum: named no field",
    request: connect("CreateJob", spec({ isolation: "ISOLATION_MOON" })),
    outcome: "INVALID_FIELD",
    field: "spec.isolation",
  },
  {
    name: "Connect, a time that is none: named no field",
    request: connect("CreateJob", spec({ limits: { runTimeout: "soon" } })),
    outcome: "INVALID_FIELD",
    field: "spec.limits.runTimeout",
  },
  {
    name: "Connect, a field that nobody knows: named no field",
    request: connect("CreateJob", spec({ colour: 1 })),
    outcome: "INVALID_FIELD",
    field: "spec.colour",
  },
  {
    name: "Connect, a field that comes twice: named no field",
    request: connect("GetJob", '{"id":"a","id":"b"}'),
    outcome: "INVALID_FIELD",
    field: "id",
  },
  {
    name: "Connect, a message in the address: named no field",
    request: connect("GetJob", "", {
      verb: "GET",
      headers: [],
      path: `${jobs}/GetJob?encoding=json&message=${encodeURIComponent('{"id":1}')}`,
    }),
    outcome: "INVALID_FIELD",
    field: "id",
  },
  {
    name: "Connect, no JSON: named no reason",
    request: connect("GetJob", "{"),
    outcome: "MALFORMED_BODY",
  },
  {
    name: "Connect, a packed body that is cut: was 500 internal",
    request: connect("GetJob", Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0]), {
      headers: [...json, ["content-encoding", "gzip"]],
    }),
    outcome: "MALFORMED_BODY",
  },
  {
    name: "Connect, a time limit that is none: named no field",
    request: connect("GetJob", '{"id":"x"}', { headers: [...json, ["connect-timeout-ms", "-1"]] }),
    outcome: "INVALID_FIELD",
    field: "connect-timeout-ms",
  },
  {
    name: "Connect, a stream's message that cannot be read: named no field",
    request: connect("WatchJob", frame(Buffer.from('{"id":5}')), {
      shape: "connect-stream",
      headers: [["content-type", "application/connect+json"]],
    }),
    outcome: "INVALID_FIELD",
    field: "id",
  },
  {
    name: "Connect, a stream's bytes that are no message: was internal",
    request: connect("WatchJob", frame(Buffer.from([10, 65, 109])), {
      shape: "connect-stream",
      headers: [["content-type", "application/connect+proto"]],
    }),
    outcome: "MALFORMED_BODY",
  },
  {
    name: "gRPC, bytes that are no message: was INTERNAL",
    request: byGrpc(frame(Buffer.from([10, 65, 109]))),
    outcome: "MALFORMED_BODY",
  },
  {
    name: "gRPC-Web, bytes that are no message: was INTERNAL",
    request: byGrpc(frame(Buffer.from([10, 65, 109])), { headers: web }),
    outcome: "MALFORMED_BODY",
  },
  {
    name: "gRPC, a text that is no UTF-8: was INTERNAL",
    request: byGrpc(frame(Buffer.from([10, 2, 0xc0, 0x80]))),
    outcome: "MALFORMED_BODY",
  },
  {
    name: "gRPC, a packed frame without an encoding: was INTERNAL",
    request: byGrpc(frame(Buffer.from([10, 1, 97]), 1)),
    outcome: "MALFORMED_BODY",
  },
  {
    name: "gRPC, a frame that is cut: named no reason",
    request: byGrpc(frame(Buffer.from([10, 1, 97]), 0, 99)),
    outcome: "MALFORMED_BODY",
  },
  {
    name: "gRPC, a frame of 4 GiB: named no reason",
    request: byGrpc(frame(Buffer.from([10, 1, 97]), 0, 2 ** 32 - 1)),
    outcome: "TOO_LARGE",
  },
  {
    name: "gRPC, a time limit that is none: named no field",
    request: byGrpc(frame(Buffer.from([10, 1, 97])), { headers: [...grpc, ["grpc-timeout", "x"]] }),
    outcome: "INVALID_FIELD",
    field: "grpc-timeout",
  },
  {
    name: "REST, a query without a name: named no field",
    request: {
      ...plain,
      shape: "rest",
      verb: "GET",
      path: "/v1/jobs?=1",
      body: Buffer.alloc(0),
    },
    outcome: "INVALID_FIELD",
    field: '""',
  },
  {
    name: "REST, a field without a name: named no field",
    request: {
      ...plain,
      shape: "rest",
      path: "/v1/tokens",
      headers: json,
      body: Buffer.from('{"":1}'),
    },
    outcome: "INVALID_FIELD",
    field: '""',
  },
  {
    name: "gRPC, a thousand fields in fault: the refusal was too long for a trailer",
    request: byGrpc(frame(Buffer.from(`0a0178${"1200".repeat(1000)}`, "hex")), {
      path: "/devmesh.api.v1.RunnerService/Heartbeat",
    }),
    outcome: "INVALID_FIELD",
    field: Array.from({ length: 10 }, (_, i) => `leases[${i}].jobId`).join(","),
  },
  {
    name: "Connect, a field with a name of 100,000 characters: the refusal was as long",
    request: connect("GetJob", `{"${"x".repeat(100_000)}":1}`),
    outcome: "INVALID_FIELD",
    field: `${"x".repeat(1999)}…`,
  },
  {
    name: "Connect, an idempotency key of 100,000 characters",
    request: {
      ...plain,
      shape: "connect",
      path: `${jobs}/CreateJob`,
      headers: json,
      body: Buffer.from(JSON.stringify({ spec: command, idempotencyKey: "k".repeat(100_000) })),
    },
    outcome: "INVALID_FIELD",
    field: "idempotencyKey",
  },
];
