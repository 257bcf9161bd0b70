/** A fresh Redis server on 127.0.0.1 with a private data folder, for benches that compare with it. */
import { connect } from "node:net";
import { startChild } from "./child.ts";
import { installDebian } from "./debian.ts";
import { freePort } from "./free-port.ts";
import { attempt, type Found, missing, type PartOptions } from "./part.ts";
import { findOnPath } from "./run.ts";
import { tempDir } from "./temp-dir.ts";

/** A running server. */
export interface Redis {
  readonly host: string;
  readonly port: number;
  /** Ends the server and removes its data. */
  stop(): Promise<void>;
}

const readyLimitMs = 20_000;

/** Starts a server with an append-only file, flushed once a second: what job queues on it are told to use. */
export async function startRedis(options: PartOptions = {}): Promise<Found<Redis>> {
  if (!findOnPath("redis-server")) {
    const installed = await installDebian(["redis-server"], options);
    if (!installed.ok) return installed;
  }
  const binary = findOnPath("redis-server");
  if (!binary) return missing("no Redis server was found", "put redis-server on PATH");
  return await attempt("see that Redis can run from the temp folder", async () => {
    const folder = await tempDir("redis");
    const port = await freePort();
    const args = ["--bind", "127.0.0.1", "--port", String(port), "--dir", folder.path];
    const child = await startChild(binary, [...args, "--appendonly", "yes"], {
      logPath: `${folder.path}/log`,
      ready: () => answers(port),
      readyTimeoutMs: readyLimitMs,
    });
    const stop = async () => {
      await child.stop();
      await folder.remove();
    };
    return { host: "127.0.0.1", port, stop };
  });
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => socket.write("PING\r\n"));
    socket.once("data", (data) => {
      socket.destroy();
      resolve(data.toString().startsWith("+PONG"));
    });
    socket.once("error", () => resolve(false));
  });
}
