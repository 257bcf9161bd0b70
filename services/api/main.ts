/** Runs the backend alone, in front of services that run elsewhere. */
import { createLogger } from "@devmesh/mesh/log";
import { SortableIds, SystemClock } from "@devmesh/mesh/runtime";
import { exitOnConfigError, startServer, untilSignalled } from "@devmesh/mesh/server";
import { startTelemetry } from "@devmesh/mesh/telemetry";
import { createServiceTransport } from "@devmesh/mesh/transport";
import { version } from "@devmesh/mesh/version";
import { buildApi } from "./app.ts";
import { readApiConfig } from "./config.ts";
import { ensureOwnerToken, ownerTokenPath } from "./tokens/owner-token.ts";

await exitOnConfigError(async () => {
  const config = readApiConfig(process.env);
  const telemetry = await startTelemetry({ service: "api", env: process.env });
  const logger = createLogger({ service: "api", level: config.logLevel });
  const clock = new SystemClock();
  const ids = new SortableIds(clock);
  const { serviceToken } = config;
  const mcpUrl = config.mcpUrl ?? "http://127.0.0.1:7000";
  const inferenceUrl = config.inferenceUrl ?? "http://127.0.0.1:7100";
  const mcp = createServiceTransport({ url: mcpUrl, serviceToken, clock });
  const inference = createServiceTransport({ url: inferenceUrl, serviceToken, clock });
  const { tokens, ...served } = await buildApi({
    config,
    logger,
    clock,
    ids,
    version,
    mcp,
    inference,
  });
  await ensureOwnerToken(tokens, ownerTokenPath(config.dataDir));
  const server = await startServer({ ...served, ...config, logger, http2: "connect" });
  await untilSignalled(async () => {
    await server.close(10_000);
    await served.app.close();
    mcp.close();
    inference.close();
    await telemetry.close();
  });
});
