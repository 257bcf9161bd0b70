/** Runs a sandbox host and its runner alone. */
import { createLogger } from "@devmesh/mesh/log";
import { SortableIds, SystemClock } from "@devmesh/mesh/runtime";
import {
  exitOnConfigError,
  servePrivately,
  startServer,
  untilSignalled,
} from "@devmesh/mesh/server";
import { startTelemetry } from "@devmesh/mesh/telemetry";
import { createServiceTransport } from "@devmesh/mesh/transport";
import { version } from "@devmesh/mesh/version";
import { buildVm } from "./app.ts";
import { readVmConfig } from "./config.ts";

await exitOnConfigError(async () => {
  const config = readVmConfig(process.env);
  const telemetry = await startTelemetry({ service: "vm", env: process.env });
  const logger = createLogger({ service: "vm", level: config.logLevel });
  const clock = new SystemClock();
  const ids = new SortableIds(clock);
  const { serviceToken } = config;
  const way = { url: config.apiUrl, serviceToken, clock };
  const api = createServiceTransport(way);
  const heartbeats = createServiceTransport({ ...way, ownConnection: true });
  const app = await buildVm({ config, logger, clock, ids, version, api, heartbeats });
  const served = servePrivately(app, { ...config, logger, clock, ids });
  const server = await startServer({ ...served, ...config, logger, http2: "grpc-js" });
  await untilSignalled(async () => {
    await app.close();
    await server.close(10_000);
    api.close();
    heartbeats.close();
    await telemetry.close();
  });
});
