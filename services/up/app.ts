/**
 * The embedded platform's composition root: the four services in one process,
 * wired by in-process transports, each port open on loopback all the same.
 */
import type { Transport } from "@connectrpc/connect";
import { buildApi } from "@devmesh/api/app";
import { readApiConfig } from "@devmesh/api/config";
import { ensureOwnerToken, ownerTokenPath } from "@devmesh/api/owner-token";
import { buildInference } from "@devmesh/inference/app";
import { readInferenceConfig } from "@devmesh/inference/config";
import { buildMcp } from "@devmesh/mcp/app";
import { readMcpConfig } from "@devmesh/mcp/config";
import type { Env, ServingConfig } from "@devmesh/mesh/config";
import { DevmeshError } from "@devmesh/mesh/errors";
import { createLogger, type Logger } from "@devmesh/mesh/log";
import { type Clock, type Ids, SortableIds, SystemClock } from "@devmesh/mesh/runtime";
import {
  type App,
  type RunningServer,
  type ServedApp,
  servePrivately,
  startServer,
} from "@devmesh/mesh/server";
import { createInProcessTransport, serviceClientInterceptors } from "@devmesh/mesh/transport";
import { version } from "@devmesh/mesh/version";
import { buildVm } from "@devmesh/vm/app";
import { readVmConfig } from "@devmesh/vm/config";
import { holdDataDir } from "./data-dir.ts";

/** A platform that runs. */
export interface Platform {
  /** `http://127.0.0.1:port` of the public port. */
  readonly url: string;
  /** The console's address with a link that works once, within five minutes. */
  readonly consoleUrl: string;
  readonly dataDir: string;
  /** Where the owner's token lies. */
  readonly ownerTokenPath: string;
  readonly ports: Readonly<Record<"api" | "mcp" | "inference" | "vm", number>>;
  /** Stops in order: runner, public port, private ports, stores. */
  close(): Promise<void>;
}

/** How long calls may take to end at a stop. */
const graceMs = 5_000;

/** Starts everything. Throws CONFIG_INVALID, UNAVAILABLE, STORE_TOO_NEW; leaves nothing open then. */
export async function startPlatform(env: Env): Promise<Platform> {
  const apiConfig = readApiConfig(env);
  refuseSharedFile(env);
  await using undo = new AsyncDisposableStack();
  const held = holdDataDir(apiConfig.dataDir);
  undo.defer(() => held.release());
  const { serviceToken } = held;
  const clock = new SystemClock();
  const common = { clock, ids: new SortableIds(clock), serviceToken };
  const loggers: Logger[] = [];
  const loggerOf = (service: string) => {
    const logger = createLogger({ service, level: apiConfig.logLevel });
    loggers.push(logger);
    return logger;
  };

  const startPrivate = async (config: ServingConfig, logger: Logger, app: App) => {
    undo.defer(() => app.close());
    const served = servePrivately(app, { ...config, ...common, logger });
    const server = await startServer({ ...served, ...config, logger, http2: "grpc-js" });
    undo.defer(() => server.close(graceMs));
    return { server, transport: inProcess(served, common) };
  };

  const models = { config: readInferenceConfig(env), logger: loggerOf("inference"), clock };
  const inference = await startPrivate(models.config, models.logger, await buildInference(models));
  const context = {
    ...{ config: readMcpConfig(env), logger: loggerOf("mcp"), clock },
    inference: inference.transport,
  };
  const mcp = await startPrivate(context.config, context.logger, await buildMcp(context));
  const api = await buildApi({
    config: { ...apiConfig, serviceToken },
    logger: loggerOf("api"),
    clock,
    ids: common.ids,
    version,
    mcp: mcp.transport,
    inference: inference.transport,
    setLogLevel: (level) => {
      for (const logger of loggers) logger.level = level;
    },
  });
  undo.defer(() => api.app.close());
  await ensureOwnerToken(api.tokens, ownerTokenPath(apiConfig.dataDir));
  const apiServer = await startServer({
    ...api,
    ...apiConfig,
    logger: loggerOf("api"),
    http2: "connect",
  });
  undo.defer(() => apiServer.close(graceMs));
  const url = `http://127.0.0.1:${apiServer.port}`;
  const vm = await startVm(env, url, inProcess(api, common), loggerOf("vm"), common);
  undo.defer(() => vm.server.close(graceMs));
  // The runner gives its jobs back while the backend still listens.
  undo.defer(() => vm.app.close());

  held.tellHost(`http://127.0.0.1:${vm.server.port}`);

  const { secret } = await api.tokens.createLink();
  const stop = undo.move();
  return {
    url,
    consoleUrl: `${url}/#link=${secret}`,
    dataDir: apiConfig.dataDir,
    ownerTokenPath: ownerTokenPath(apiConfig.dataDir),
    ports: {
      api: apiServer.port,
      mcp: mcp.server.port,
      inference: inference.server.port,
      vm: vm.server.port,
    },
    close: () => stop.disposeAsync(),
  };
}

/** One SQLite file has one owner; the data folder holds one for each service. */
function refuseSharedFile(env: Env): void {
  if (env.STORAGE_URL?.startsWith("sqlite:") !== true) return;
  throw new DevmeshError(
    "CONFIG_INVALID",
    "STORAGE_URL: `up` keeps one SQLite file for each service; name their folder with --data-dir",
    { metadata: { field: "STORAGE_URL" } },
  );
}

interface Common {
  readonly clock: Clock;
  readonly ids: Ids;
  readonly serviceToken: string;
}

async function startVm(
  env: Env,
  apiUrl: string,
  api: Transport,
  logger: Logger,
  common: Common,
): Promise<{ app: App; server: RunningServer }> {
  const config = { ...readVmConfig(env), apiUrl };
  const app = await buildVm({ config, logger, ...common, version, api });
  try {
    const served = servePrivately(app, { ...config, ...common, logger });
    return { app, server: await startServer({ ...served, ...config, logger, http2: "grpc-js" }) };
  } catch (error) {
    await app.close();
    throw error;
  }
}

function inProcess({ methods }: Pick<ServedApp, "methods">, common: Common): Transport {
  return createInProcessTransport({ methods, interceptors: serviceClientInterceptors(common) });
}
