import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { toDevmeshError } from "@devmesh/mesh/errors";
import { startTelemetry } from "@devmesh/mesh/telemetry";
import { trace } from "@opentelemetry/api";
import { expect } from "chai";
import { type Collector, kinds, startCollector } from "./otlp-collector.ts";

describe("telemetry", () => {
  let collector: Collector;
  beforeEach(async () => {
    collector = await startCollector();
  });
  afterEach(() => collector[Symbol.dispose]());

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
    expect(await runBoth({ OTEL_EXPORTER_OTLP_ENDPOINT: collector.endpoint })).to.equal(true);
    for (const name of [
      "devmesh.vm.v1.SandboxService/ListSandboxes",
      "devmesh.api.v1.JobService/WatchJob",
    ]) {
      const both = collector.spans.filter((span) => span.name === name);
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
    const off = { OTEL_EXPORTER_OTLP_ENDPOINT: collector.endpoint, OTEL_SDK_DISABLED: "true" };
    expect(await runBoth(off)).to.equal(false);
    expect(collector.spans).to.deep.equal([]);
  });

  it("is off without an endpoint, and costs a span that records nothing", async () => {
    const telemetry = await startTelemetry({ service: "test", env: {} });
    expect(telemetry.on).to.equal(false);
    expect(trace.getTracer("test").startSpan("x").isRecording()).to.equal(false);
    await telemetry.close();
  });

  it("refuses an endpoint that is no URL, by its name", async () => {
    const env = { OTEL_EXPORTER_OTLP_ENDPOINT: "collector" };
    const error = await startTelemetry({ service: "test", env }).catch(toDevmeshError);
    expect(error).to.include({ reason: "CONFIG_INVALID" });
    expect(error).to.have.property("message").that.includes("OTEL_EXPORTER_OTLP_ENDPOINT");
  });
});
