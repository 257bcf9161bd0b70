/**
 * A host that dials out to a backend and runs its jobs: no port is opened, and
 * no database is needed. What it runs and how is the runner's business.
 */
import { rmSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import type { Env } from "@devmesh/mesh/config";
import { type DevmeshError, toDevmeshError } from "@devmesh/mesh/errors";
import { createLogger, type Logger } from "@devmesh/mesh/log";
import { type Clock, holdFolder, SortableIds, SystemClock } from "@devmesh/mesh/runtime";
import { exitOnConfigError, tellFailure, untilSignalled } from "@devmesh/mesh/server";
import { startTelemetry } from "@devmesh/mesh/telemetry";
import { createServiceTransport } from "@devmesh/mesh/transport";
import { version } from "@devmesh/mesh/version";
import { buildVm } from "../app.ts";
import { backendOf } from "../runner/backend.ts";
import { checkBackend, isRefusal, refusalOf } from "./check-backend.ts";
import { type JoinConfig, readJoinConfig } from "./join-config.ts";

/** The exit status of a runner whose token is refused: to start it again is of no use. */
const refusedStatus = 3;

/** The exit status of a runner whose backend cannot be reached, unless it waits. */
const unreachableStatus = 7;

/** Where a runner that has joined says so, in its data folder. */
const presenceFile = "runner.json";

/** What that file says. */
export interface Presence {
  /** The id under which `agents` lists it. */
  readonly id: string;
  readonly pid: number;
  readonly url: string;
}

/**
 * Runs the host until it is told to stop, or the backend refuses its token;
 * answers the exit status: `refusedStatus` or `unreachableStatus` for a start that
 * fails by its backend. Another start that fails ends the program, as `exitOnConfigError` says.
 */
export async function runJoin(env: Env): Promise<number> {
  const config = await exitOnConfigError(async () => readJoinConfig(env));
  const telemetry = await startTelemetry({ service: "runner", env });
  const logger = createLogger({ service: "runner", level: config.vm.logLevel });
  const clock = new SystemClock();
  const ending = Promise.withResolvers<DevmeshError>();
  const refuse = (error: unknown) => ending.resolve(refusalOf(config.vm.apiUrl, error));
  let failure: DevmeshError | undefined;
  const ended = ending.promise.then((error) => {
    failure = error;
  });
  const running = await exitOnConfigError(async () => {
    try {
      return await start(config, { logger, clock, refuse });
    } catch (error) {
      const known = toDevmeshError(error);
      const isAway = known.reason === "UNAVAILABLE" && known.metadata.field === "url";
      if (isRefusal(error)) refuse(error);
      else if (isAway) ending.resolve(known);
      else throw error;
      return undefined;
    }
  });
  if (running === undefined) await ended;
  else await untilSignalled(() => running.disposeAsync(), ended);
  await telemetry.close();
  if (failure === undefined) return 0;
  const status = failure.reason === "UNAVAILABLE" ? unreachableStatus : refusedStatus;
  tellFailure(failure, status);
  return status;
}

interface Tools {
  readonly logger: Logger;
  readonly clock: Clock;
  readonly refuse: (error: unknown) => void;
}

/** Joins; what it answers gives the jobs back and leaves nothing open. */
async function start(
  { vm, token, dataDir, waits }: JoinConfig,
  { logger, clock, refuse }: Tools,
): Promise<AsyncDisposableStack> {
  await using undo = new AsyncDisposableStack();
  const held = holdFolder(dataDir, "runner", "stop it, or choose another with --state-dir");
  undo.defer(() => held.release());
  const url = vm.apiUrl;
  const way = { url, serviceToken: token, clock };
  const api = createServiceTransport(way);
  undo.defer(() => api.close());
  const heartbeats = createServiceTransport({ ...way, ownConnection: true });
  undo.defer(() => heartbeats.close());
  const backend = backendOf(api, heartbeats);
  const { signal } = new AbortController();
  await checkBackend({ url, backend, clock, logger, waits, signal });
  const presencePath = join(dataDir, presenceFile);
  undo.defer(() => rmSync(presencePath, { force: true }));
  const ids = new SortableIds(clock);
  const app = await buildVm({
    ...{ config: vm, logger, clock, ids, version, api, heartbeats },
    onRefused: refuse,
    onRegistered: (id) => {
      const presence: Presence = { id, pid: process.pid, url };
      writeFileSync(presencePath, `${JSON.stringify(presence)}\n`, { mode: 0o600 });
      logger.info({ runner: id, host: hostname(), url }, "joined");
    },
  });
  undo.defer(() => app.close());
  return undo.move();
}
