/** Runs the context plane alone. */
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
import { buildMcp } from "./app.ts";
import { readMcpConfig } from "./config.ts";

await exitOnConfigError(async () => {
  const config = readMcpConfig(process.env);
  const telemetry = await startTelemetry({ service: "mcp", env: process.env });
  const logger = createLogger({ service: "mcp", level: config.logLevel });
  const clock = new SystemClock();
  const inference =
    config.inferenceUrl === undefined
      ? undefined
      : createServiceTransport({
          url: config.inferenceUrl,
          serviceToken: config.serviceToken,
          clock,
        });
  const app = await buildMcp({ config, logger, clock, inference });
  const served = servePrivately(app, { ...config, logger, clock, ids: new SortableIds(clock) });
  const server = await startServer({ ...served, ...config, logger, http2: "grpc-js" });
  await untilSignalled(async () => {
    await server.close(10_000);
    await app.close();
    inference?.close();
    await telemetry.close();
  });
});
