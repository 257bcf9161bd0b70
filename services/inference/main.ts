/** Runs the models' service alone. */
import { createLogger } from "@devmesh/mesh/log";
import { SortableIds, SystemClock } from "@devmesh/mesh/runtime";
import {
  exitOnConfigError,
  servePrivately,
  startServer,
  untilSignalled,
} from "@devmesh/mesh/server";
import { startTelemetry } from "@devmesh/mesh/telemetry";
import { buildInference } from "./app.ts";
import { readInferenceConfig } from "./config.ts";

await exitOnConfigError(async () => {
  const config = readInferenceConfig(process.env);
  const telemetry = await startTelemetry({ service: "inference", env: process.env });
  const logger = createLogger({ service: "inference", level: config.logLevel });
  const clock = new SystemClock();
  const app = await buildInference({ config, logger, clock });
  const served = servePrivately(app, { ...config, logger, clock, ids: new SortableIds(clock) });
  const server = await startServer({ ...served, ...config, logger, http2: "grpc-js" });
  await untilSignalled(async () => {
    await server.close(10_000);
    await app.close();
    await telemetry.close();
  });
});
