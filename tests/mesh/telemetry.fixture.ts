/** One process of the telemetry test: `server`, or `client PORT`. Traces go where the environment says. */
import { createClient, type ServiceImpl } from "@connectrpc/connect";
import { JobService } from "@devmesh/gen/devmesh/api/v1/job_service_pb";
import { SandboxService } from "@devmesh/gen/devmesh/vm/v1/sandbox_service_pb";
import { silentLogger } from "@devmesh/mesh/log";
import { SortableIds, SystemClock } from "@devmesh/mesh/runtime";
import { serve, servePrivately, startServer } from "@devmesh/mesh/server";
import { startTelemetry } from "@devmesh/mesh/telemetry";
import { createServiceTransport } from "@devmesh/mesh/transport";

const [, , role = "", port = ""] = process.argv;
const serviceToken = "secret";
const clock = new SystemClock();
const telemetry = await startTelemetry({ service: role, env: process.env });
if (role === "server") await runServer();
else await runClient();

async function runServer(): Promise<void> {
  const logger = silentLogger();
  const sandboxes: Partial<ServiceImpl<typeof SandboxService>> = {
    listSandboxes: () => ({}),
  };
  const jobs: Partial<ServiceImpl<typeof JobService>> = {
    async *watchJob() {
      yield {};
      yield {};
    },
  };
  const app = {
    services: [
      serve(SandboxService, sandboxes as ServiceImpl<typeof SandboxService>),
      serve(JobService, jobs as ServiceImpl<typeof JobService>),
    ],
    readiness: [],
    close: async () => {},
  };
  const ids = new SortableIds(clock);
  const options = { logger, clock, ids, serviceToken, requestTimeoutMs: 60_000 };
  const served = servePrivately(app, options);
  const where = { host: "127.0.0.1", port: 0, http2: "grpc-js" } as const;
  const server = await startServer({ ...served, ...where, logger });
  process.once("message", async () => {
    await server.close(0);
    await telemetry.close();
    process.exit(0);
  });
  process.send?.(server.port);
}

async function runClient(): Promise<void> {
  const url = `http://127.0.0.1:${port}`;
  const transport = createServiceTransport({ url, serviceToken, clock });
  await createClient(SandboxService, transport).listSandboxes({});
  for await (const _ of createClient(JobService, transport).watchJob({ id: "job_1" }));
  transport.close();
  await telemetry.close();
  process.send?.(telemetry.on);
  process.disconnect?.();
}
