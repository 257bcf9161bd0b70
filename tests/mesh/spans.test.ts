import type { Interceptor } from "@connectrpc/connect";
import { JobService } from "@devmesh/gen/devmesh/api/v1/job_service_pb";
import { SandboxService } from "@devmesh/gen/devmesh/vm/v1/sandbox_service_pb";
import { DevmeshError } from "@devmesh/mesh/errors";
import {
  clientTraceInterceptor,
  retryInterceptor,
  traceInterceptor,
} from "@devmesh/mesh/interceptors";
import { TestClock } from "@devmesh/mesh/runtime";
import { bindMethods, serve } from "@devmesh/mesh/server";
import { createInProcessTransport } from "@devmesh/mesh/transport";
import { propagation, SpanKind, SpanStatusCode, trace } from "@opentelemetry/api";
import { W3CTraceContextPropagator } from "@opentelemetry/core";
import {
  InMemorySpanExporter,
  SimpleSpanProcessor,
  TracerProvider,
} from "@opentelemetry/sdk-trace";
import { expect } from "chai";

/** A tracer of its own: nothing of the process is changed. */
function tracing() {
  const exporter = new InMemorySpanExporter();
  const provider = new TracerProvider({ spanProcessors: [new SimpleSpanProcessor({ exporter })] });
  return { tracer: provider.getTracer("test"), spans: () => exporter.getFinishedSpans() };
}

async function* two(fails: boolean) {
  yield { step: { case: "event" as const, value: { seq: 1 } } };
  if (fails) throw new DevmeshError("WRONG_STATE", "it breaks here");
  yield { step: { case: "event" as const, value: { seq: 2 } } };
}

interface Around {
  readonly server?: readonly Interceptor[];
  readonly client?: readonly Interceptor[];
  /** How often `DeleteSandbox` says that it is not up. */
  readonly failures?: number;
}

/** `DeleteSandbox`, and a `WatchJob` that fails for the job `breaks`. */
function calls({ server = [], client = [], failures = 0 }: Around) {
  let left = failures;
  const deleteSandbox = () => {
    if (left-- > 0) throw new DevmeshError("UNAVAILABLE", "down");
    return {};
  };
  const watchJob = ({ id }: { id: string }) => two(id === "breaks");
  const services = [
    serve(SandboxService, { deleteSandbox } as never),
    serve(JobService, { watchJob } as never),
  ];
  const methods = bindMethods(services, server);
  const transport = createInProcessTransport({ methods, interceptors: client });
  return {
    unary: (header: Record<string, string> = {}) => {
      const method = SandboxService.method.deleteSandbox;
      return transport.unary(method, undefined, undefined, header, { id: "sbx_1" });
    },
    async watch(id: string, messages: number) {
      const input = (async function* () {
        yield { id };
      })();
      const method = JobService.method.watchJob;
      const res = await transport.stream(method, undefined, undefined, undefined, input);
      const stream = res.message[Symbol.asyncIterator]();
      for (let i = 0; i < messages; i++) await stream.next();
      await stream.return?.();
    },
  };
}

describe("spans", () => {
  it("are one for a served call, named by its method", async () => {
    const { tracer, spans } = tracing();
    await calls({ server: [traceInterceptor(tracer)] }).unary();
    expect(spans()).to.have.length(1);
    expect(spans()[0]).to.include({
      name: "devmesh.vm.v1.SandboxService/DeleteSandbox",
      kind: SpanKind.SERVER,
    });
    expect(spans()[0]?.status.code).to.equal(SpanStatusCode.UNSET);
    expect(spans()[0]?.attributes).to.deep.equal({
      "rpc.system": "grpc",
      "rpc.service": "devmesh.vm.v1.SandboxService",
      "rpc.method": "DeleteSandbox",
    });
  });

  it("have the reason of a failed call", async () => {
    const { tracer, spans } = tracing();
    const { unary } = calls({ server: [traceInterceptor(tracer)], failures: 1 });
    await unary().catch(() => {});
    expect(spans().map(({ status }) => status.code)).to.deep.equal([SpanStatusCode.ERROR]);
    expect(spans()[0]?.attributes).to.include({ "error.type": "UNAVAILABLE" });
  });

  it("end with the stream: at its end, with its error, or when it is left", async () => {
    const { tracer, spans } = tracing();
    const { watch } = calls({ server: [traceInterceptor(tracer)] });
    await watch("whole", 3);
    await watch("breaks", 3).catch(() => {});
    await watch("left", 1);
    const { UNSET, ERROR } = SpanStatusCode;
    expect(spans().map(({ status }) => status.code)).to.deep.equal([UNSET, ERROR, UNSET]);
    expect(spans()[1]?.attributes).to.include({ "error.type": "WRONG_STATE" });
  });

  it("are one for each try of a client", async () => {
    const { tracer, spans } = tracing();
    const clock = new TestClock();
    const client = [retryInterceptor({ clock, random: () => 1 }), clientTraceInterceptor(tracer)];
    const answer = calls({ client, failures: 2 }).unary();
    for (let tries = 0; tries < 2; tries++) {
      while (clock.sleeping === 0) await new Promise(setImmediate);
      clock.advance(1_000);
    }
    await answer;
    const { ERROR, UNSET } = SpanStatusCode;
    expect(spans().map(({ status }) => status.code)).to.deep.equal([ERROR, ERROR, UNSET]);
    for (const { kind } of spans()) expect(kind).to.equal(SpanKind.CLIENT);
  });

  it("cost nothing and send nothing along where tracing is off", async () => {
    const off = trace.getTracer("off");
    let sent: string | null = "";
    const look: Interceptor = (next) => (req) => {
      sent = req.header.get("traceparent");
      return next(req);
    };
    const client = [clientTraceInterceptor(off)];
    await calls({ server: [look, traceInterceptor(off)], client }).unary();
    expect(sent).to.equal(null);
  });
});

describe("spans of two services", () => {
  let ours = false;
  before(() => {
    ours = propagation.setGlobalPropagator(new W3CTraceContextPropagator());
  });
  after(() => {
    if (ours) propagation.disable();
  });

  it("are tied by traceparent", async () => {
    const [here, there] = [tracing(), tracing()];
    const server = [traceInterceptor(there.tracer)];
    await calls({ server, client: [clientTraceInterceptor(here.tracer)] }).unary();
    const [caller] = here.spans();
    const [served] = there.spans();
    expect(served?.spanContext().traceId).to.equal(caller?.spanContext().traceId);
    expect(served?.parentSpanContext?.spanId).to.equal(caller?.spanContext().spanId);
  });

  it("begin a trace of their own for a malformed traceparent", async () => {
    const { tracer, spans } = tracing();
    const { unary } = calls({ server: [traceInterceptor(tracer)] });
    for (const traceparent of ["", "00-zz-zz-01", `00-${"0".repeat(32)}-${"0".repeat(16)}-01`]) {
      await unary({ traceparent });
    }
    for (const span of spans()) expect(span.parentSpanContext).to.equal(undefined);
    expect(spans()).to.have.length(3);
  });
});
