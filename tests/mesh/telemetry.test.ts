import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { buffer } from "node:stream/consumers";
import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import { startTelemetry } from "@devmesh/mesh/telemetry";
import { trace } from "@opentelemetry/api";
import { expect } from "chai";

const kinds = { server: 2, client: 3 };

interface SeenSpan {
  readonly name: string;
  readonly kind: number;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentId: string;
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

/** The spans of `opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest`. */
function spansOf(request: Uint8Array): SeenSpan[] {
  return messagesAt(request, 1, 2, 2).map((span) => {
    const fields = new Map(fieldsOf(span).map(({ no, value }) => [no, value]));
    const hex = (no: number) => Buffer.from((fields.get(no) as Uint8Array) ?? []).toString("hex");
    return {
      traceId: hex(1),
      spanId: hex(2),
      parentId: hex(4),
      name: Buffer.from(fields.get(5) as Uint8Array).toString(),
      kind: Number(fields.get(6)),
    };
  });
}

describe("telemetry", () => {
  let collector: Server;
  let endpoint: string;
  let spans: SeenSpan[];
  beforeEach(async () => {
    spans = [];
    collector = createServer(async (req, res) => {
      expect(req.url).to.equal("/v1/traces");
      spans.push(...spansOf(await buffer(req)));
      res.writeHead(200, { "content-type": "application/x-protobuf" }).end();
    });
    collector.listen(0, "127.0.0.1");
    await once(collector, "listening");
    endpoint = `http://127.0.0.1:${(collector.address() as AddressInfo).port}`;
  });
  afterEach(() => collector.close());

  function start(env: Record<string, string>, ...args: string[]): ChildProcess {
    const file = new URL("telemetry.fixture.ts", import.meta.url).pathname;
    return fork(file, args, { env: { ...process.env, ...env } });
  }

  /** Runs a server and a client of it, each in a process; answers whether the client traced. */
  async function runBoth(env: Record<string, string>): Promise<unknown> {
    const server = start(env, "server");
    const [port] = await once(server, "message");
    const client = start(env, "client", String(port));
    const [on] = await once(client, "message");
    const ended = once(server, "exit");
    server.send("stop");
    await ended;
    return on;
  }

  it("makes one trace of a call across two processes", async () => {
    expect(await runBoth({ OTEL_EXPORTER_OTLP_ENDPOINT: endpoint })).to.equal(true);
    for (const name of [
      "devmesh.vm.v1.SandboxService/ListSandboxes",
      "devmesh.api.v1.JobService/WatchJob",
    ]) {
      const both = spans.filter((span) => span.name === name);
      const client = both.find(({ kind }) => kind === kinds.client);
      const server = both.find(({ kind }) => kind === kinds.server);
      expect(both, name).to.have.length(2);
      expect(client?.parentId).to.equal("");
      expect(server?.traceId).to.equal(client?.traceId);
      expect(server?.parentId).to.equal(client?.spanId);
    }
  });

  it("sends nothing where nobody asks for it", async () => {
    expect(await runBoth({ OTEL_EXPORTER_OTLP_ENDPOINT: "" })).to.equal(false);
    const off = { OTEL_EXPORTER_OTLP_ENDPOINT: endpoint, OTEL_SDK_DISABLED: "true" };
    expect(await runBoth(off)).to.equal(false);
    expect(spans).to.deep.equal([]);
  });

  it("is off without an endpoint, and costs a span that records nothing", async () => {
    const telemetry = await startTelemetry({ service: "test", env: {} });
    expect(telemetry.on).to.equal(false);
    expect(trace.getTracer("test").startSpan("x").isRecording()).to.equal(false);
    await telemetry.close();
  });
});
