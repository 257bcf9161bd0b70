/** Damage to requests that were made: to their bytes, their packing, their headers, their path. */
import { brotliCompressSync, gzipSync } from "node:zlib";
import type { Request } from "./cases.ts";
import { hostileText, invalidUtf8 } from "./hostile.ts";
import type { Random } from "./random.ts";
import { frame } from "./wire.ts";

/** Flips, cuts, doubles, or replaces bytes of the body. */
export function damageBody(request: Request, random: Random): Request {
  const { body } = request;
  const at = random.below(body.length + 1);
  const kinds: readonly (() => Buffer)[] = [
    () => flipped(body, random),
    () => body.subarray(0, at),
    () => Buffer.concat([body, body]),
    () => Buffer.concat([body.subarray(0, at), invalidUtf8(random), body.subarray(at)]),
    () => Buffer.concat([body.subarray(0, at), random.bytes(5), body.subarray(at)]),
    () => random.bytes(random.below(64)),
    () => Buffer.alloc(0),
    () => frame(body),
    () => frame(body, random.below(256)),
    () => frame(body, 0, random.pick([0, body.length + 1, 2 ** 31, 2 ** 32 - 1])),
    () => Buffer.from("null"),
    () => Buffer.from("[]"),
    () => Buffer.from(`\uFEFF${body.toString()}`),
  ];
  return { ...request, body: random.pick(kinds)() };
}

function flipped(body: Buffer, random: Random): Buffer {
  const copy = Buffer.from(body);
  for (let i = 0; i < 1 + random.below(4) && copy.length > 0; i++) {
    const at = random.below(copy.length);
    copy.writeUInt8(copy.readUInt8(at) ^ (1 << random.below(8)), at);
  }
  return copy;
}

/** 64 MiB of nothing. */
const bomb = gzipSync(Buffer.alloc(64 * 1024 * 1024));

/** Compresses the body, says that it did where it did not, or the other way round. */
export function packBody(request: Request, random: Random): Request {
  const { body, shape } = request;
  const framed = shape === "grpc" || shape === "connect-stream";
  const header = shape === "grpc" ? "grpc-encoding" : "content-encoding";
  const name = shape === "connect-stream" ? "connect-content-encoding" : header;
  const encoding = random.pick(["gzip", "br", "identity", "zstd", "GZIP", "gzip, gzip", ""]);
  const inner = framed ? body.subarray(5) : body;
  // A bomb costs the server as much as it may: a few are enough.
  const packed: Buffer = random.chance(0.02)
    ? bomb
    : random.pick([gzipSync(inner), brotliCompressSync(inner), inner, gzipSync(inner).subarray(3)]);
  return {
    ...request,
    headers: [...request.headers, [name, encoding]],
    body: framed ? frame(packed, random.pick([0, 1, 1, 1])) : packed,
  };
}

const contentTypes = [
  "",
  "text/plain",
  "application/json; charset=utf-16",
  "application/json;",
  "application/xml",
  "application/grpc+json",
  "application/grpc-web+json",
  "application/connect+proto",
  "application/proto",
  "multipart/form-data; boundary=x",
  "a/b/c; =",
  "*",
] as const;

const oddHeaders: readonly (readonly [string, readonly string[]])[] = [
  ["content-type", contentTypes],
  ["accept", ["", "*/*", "text/event-stream", "application/json;q=x", "x"]],
  ["connect-timeout-ms", ["0", "-1", "1", "x", "99999999999", "1e3", "10000000000000"]],
  ["grpc-timeout", ["0m", "1n", "-1S", "x", "999999999H", "99999999H", "1"]],
  ["connect-protocol-version", ["1", "2", "x"]],
  ["grpc-accept-encoding", ["gzip", "x", "", "gzip,br,identity", ",,"]],
  ["accept-encoding", ["gzip", "x", "", "gzip;q=0", "*"]],
  ["x-request-id", ["", "a b", "x".repeat(500), "ok-1", "<x>"]],
  [
    "idempotency-key",
    ["", "k", "k".repeat(255), "k".repeat(256), "k".repeat(4000), "a b", "\u00e9"],
  ],
  ["traceparent", ["x", "00-00-00-00", "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"]],
  ["tracestate", ["x", "a=b,".repeat(60)]],
  ["baggage", ["x", "=".repeat(100)]],
  ["last-event-id", ["x", "-1", "0", "1e99", "4294967296"]],
  ["origin", ["null", "http://evil.example", "x", ""]],
  ["x-forwarded-for", ["1.2.3.4", "x"]],
  ["forwarded", ["for=x"]],
  ["range", ["bytes=0-0", "x"]],
  ["if-none-match", ["*", "x"]],
  ["expect", ["x", "100-continue"]],
  ["content-length", ["0", "1", "-1", "x", "99999", "1, 1"]],
  ["transfer-encoding", ["chunked", "gzip", "chunked, chunked", "x"]],
  ["x-long", ["x".repeat(8000)]],
  ["cookie", ["a=b; ".repeat(50)]],
  ["sec-websocket-protocol", ["devmesh.v1", "bearer.x", ",,", "x"]],
  ["access-control-request-method", ["POST", "x"]],
  ["grpc-status", ["0"]],
  ["grpc-message", ["%zz"]],
  ["x-bin-bin", ["!!!", "AAAA"]],
];

/** Headers that tell where the request ends: HTTP itself may refuse these. */
const framing = new Set(["expect", "content-length", "transfer-encoding"]);

const hosts = ["", "a b", "[", "evil.example", "127.0.0.1:99999", "user:pass@host", "x/y", "::1"];

/** Adds, doubles or replaces headers; takes some away. */
export function damageHeaders(request: Request, random: Random, token: string): Request {
  let headers = [...request.headers];
  for (let i = 0; i < 1 + random.below(3); i++) {
    const [name, values] = random.pick(oddHeaders);
    if (random.chance(0.8)) headers = headers.filter(([key]) => key !== name);
    headers.push([name, random.pick(values)]);
  }
  let broken = request.broken || headers.some(([key]) => framing.has(key));
  if (random.chance(0.1)) {
    const auth = [
      "",
      "Bearer",
      "Bearer  ",
      `bearer ${token}`,
      "Basic eDp4",
      "Bearer dm_x",
    ] as const;
    headers = headers.filter(([key]) => key !== "authorization");
    if (random.chance(0.8)) headers.push(["authorization", random.pick(auth)]);
  }
  if (random.chance(0.05)) {
    headers.push(["host", random.pick(hosts)]);
    broken = true;
  }
  // By REST, whoever accepts a stream gets one.
  const endless = request.endless || headers.some(([, value]) => value === "text/event-stream");
  return { ...request, headers, broken, endless };
}

/** Makes the path another one, or none; sometimes the verb. */
export function damagePath(request: Request, random: Random): Request {
  const { path } = request;
  const kinds: readonly (() => string)[] = [
    () => `${path}/`,
    () => `/${path}`,
    () => path.replace("/", "/%2e%2e/"),
    () => `${path}%00`,
    () => `${path}%zz`,
    () =>
      `${path}${path.includes("?") ? "&" : "?"}${encodeURIComponent(hostileText(random).slice(0, 99).toWellFormed())}=1`,
    () => `${path}?a[]=1&a=2&&=&%`,
    () => path.toUpperCase(),
    () => `${path}${"/x".repeat(500)}`,
    () => `http://evil.example${path}`,
    () => "*",
  ];
  const verb = random.chance(0.3)
    ? random.pick(["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "POST", "TRACE", "PURGE"])
    : request.verb;
  return { ...request, verb, path: random.pick(kinds)(), broken: true };
}
