/** Runs the models' service alone. */
import { readServingConfig } from "@devmesh/mesh/config";
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
  const serving = readServingConfig(process.env, "INFERENCE", 7100);
  const telemetry = await startTelemetry({ service: "inference", env: process.env });
  const logger = createLogger({ service: "inference", level: serving.logLevel });
  const clock = new SystemClock();
  const app = await buildInference({ config, logger, clock });
  const served = servePrivately(app, { ...serving, logger, clock, ids: new SortableIds(clock) });
  const server = await startServer({ ...served, ...serving, logger, http2: "grpc-js" });
  await untilSignalled(async () => {
    await server.close(10_000);
    await app.close();
    await telemetry.close();
  });
});
