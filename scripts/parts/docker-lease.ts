/** A share in our Docker engine, whose keeper is started by the first who asks. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { withLock } from "./cache.ts";
import { type EnginePlace, enginePlace } from "./docker-engine.ts";
import type { Found, PartOptions } from "./part.ts";
import { logTail } from "./text.ts";

/** A Docker engine that answers at a Unix socket. */
export interface DockerEngine {
  socketPath: string;
  /**
   * Gives the engine back. One that we started ends with its last user, and its containers with
   * it; another's is left alone. Users share images, networks and container names.
   */
  stop(): Promise<void>;
}

const keeperProgram = join(import.meta.dirname, "docker-keeper.ts");
const keeperLimitMs = 120_000;
const pollMs = 50;

/** Resolves when the engine is ready. Throws with the last lines of its log when it is not. */
export async function leaseEngine({ log }: PartOptions): Promise<DockerEngine> {
  const deadline = Date.now() + keeperLimitMs;
  for (;;) {
    const place = await enginePlace();
    const connection = (await joinKeeper(place)) ?? (await startKeeper(place, log));
    const answer = await firstLine(connection);
    if (answer) {
      const result = JSON.parse(answer) as Found<undefined>;
      if (!result.ok) throw new Error(result.reason);
      return lease(place, connection);
    }
    // The keeper was about to end when we came.
    if (Date.now() > deadline) throw new Error("the keeper of the Docker engine gives no answer");
  }
}

function lease({ socketPath }: EnginePlace, connection: Socket): DockerEngine {
  // A lease that is never given back does not keep its process alive.
  connection.unref();
  const closed = once(connection, "close");
  const stop = async () => {
    connection.ref();
    connection.end();
    await closed;
  };
  return { socketPath, stop };
}

/** Connects to a keeper that is there. */
async function joinKeeper({ runDir }: EnginePlace): Promise<Socket | undefined> {
  const connection = connect(join(runDir, "keeper.sock"));
  try {
    await once(connection, "connect");
  } catch {
    return undefined;
  }
  // A keeper that is killed resets the connection; that it is closed then says enough.
  connection.on("error", () => connection.destroy());
  return connection;
}

async function startKeeper(place: EnginePlace, log: PartOptions["log"]): Promise<Socket> {
  return await withLock("docker-keeper", keeperLimitMs, async () => {
    const there = await joinKeeper(place);
    if (there) return there;
    log?.("starting a Docker engine");
    const logPath = join(place.home, "keeper.log");
    const output = openSync(logPath, "w");
    // It may outlive its starter, as it ends with its last user, and a signal for our group.
    const keeper = spawn(process.execPath, [keeperProgram], {
      cwd: place.home,
      detached: true,
      stdio: ["ignore", output, output],
    });
    closeSync(output);
    await once(keeper, "spawn");
    keeper.unref();
    const deadline = Date.now() + keeperLimitMs;
    while (keeper.exitCode === null && keeper.signalCode === null && Date.now() < deadline) {
      const connection = await joinKeeper(place);
      if (connection) return connection;
      await delay(pollMs);
    }
    throw new Error(`the keeper of the Docker engine did not start: ${await logTail(logPath)}`);
  });
}

/** The first line that the keeper sends; nothing when it closes the connection before. */
async function firstLine(connection: Socket): Promise<string | undefined> {
  let text = "";
  connection.setEncoding("utf8");
  return await new Promise((resolve) => {
    connection.once("close", () => resolve(undefined));
    connection.on("data", (chunk) => {
      text += chunk;
      if (text.includes("\n")) resolve(text.split("\n")[0]);
    });
  });
}
