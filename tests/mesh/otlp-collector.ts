/** A collector of traces: OTLP over HTTP in Protobuf, as a service's exporter sends it. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { buffer } from "node:stream/consumers";
import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import { expect } from "chai";

/** The values of `SpanKind` that calls have. */
export const kinds = { server: 2, client: 3 };

/** A span that came. */
export interface SeenSpan {
  /** The name of the service that sent it. */
  readonly service: string;
  readonly name: string;
  readonly kind: number;
  readonly traceId: string;
  readonly spanId: string;
  /** Empty: it has no parent. */
  readonly parentId: string;
}

/** A collector that runs. */
export interface Collector extends Disposable {
  /** For `OTEL_EXPORTER_OTLP_ENDPOINT`. */
  readonly endpoint: string;
  /** All that came so far. */
  readonly spans: readonly SeenSpan[];
}

/** Starts one on any port. */
export async function startCollector(): Promise<Collector> {
  const spans: SeenSpan[] = [];
  const server = createServer(async (req, res) => {
    expect(req.url).to.equal("/v1/traces");
    spans.push(...spansOf(await buffer(req)));
    res.writeHead(200, { "content-type": "application/x-protobuf" }).end();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    spans,
    [Symbol.dispose]: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}

/** The fields of a message: numbers, and bytes by field number. */
function fieldsOf(bytes: Uint8Array): { no: number; value: Uint8Array | number }[] {
  const reader = new BinaryReader(bytes);
  const fields: { no: number; value: Uint8Array | number }[] = [];
  while (reader.pos < reader.len) {
    const [no, type] = reader.tag();
    if (type === WireType.LengthDelimited) fields.push({ no, value: reader.bytes() });
    else if (type === WireType.Varint) fields.push({ no, value: Number(reader.uint64()) });
    else reader.skip(type, no);
  }
  return fields;
}

/** The messages under a path of field numbers. */
function messagesAt(bytes: Uint8Array, ...path: number[]): Uint8Array[] {
  const [first, ...rest] = path;
  if (first === undefined) return [bytes];
  return fieldsOf(bytes).flatMap(({ no, value }) =>
    no === first && value instanceof Uint8Array ? messagesAt(value, ...rest) : [],
  );
}

function textAt(bytes: Uint8Array, ...path: number[]): string {
  const [text = new Uint8Array()] = messagesAt(bytes, ...path);
  return Buffer.from(text).toString();
}

/** The spans of `opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest`. */
function spansOf(request: Uint8Array): SeenSpan[] {
  return messagesAt(request, 1).flatMap((ofResource) => {
    const attributes = messagesAt(ofResource, 1, 1);
    const named = attributes.find((attribute) => textAt(attribute, 1) === "service.name");
    const service = named === undefined ? "" : textAt(named, 2, 1);
    return messagesAt(ofResource, 2, 2).map((span) => {
      const hex = (no: number) => Buffer.concat(messagesAt(span, no)).toString("hex");
      const kind = fieldsOf(span).find(({ no }) => no === 6)?.value;
      return {
        service,
        traceId: hex(1),
        spanId: hex(2),
        parentId: hex(4),
        name: textAt(span, 5),
        kind: Number(kind),
      };
    });
  });
}
