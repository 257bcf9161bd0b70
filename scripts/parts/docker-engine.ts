/** Our own Docker engine: its folders, its bridge, and the process. Sharing it is the keeper's. */
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { lstat, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { cacheDir } from "./cache.ts";
import { type Child, startChild } from "./child.ts";
import { findBinary } from "./debian.ts";
import { engineAnswers } from "./docker-http.ts";
import { run } from "./run.ts";

const readyLimitMs = 60_000;
const ipLimitMs = 10_000;
const leftoverLimitMs = 40_000;
const leftoverPollMs = 100;

/** Where an engine of this cache folder is. */
export interface EnginePlace {
  /** Images, containers and logs, kept between runs. */
  home: string;
  /** Sockets and run-time state, for as long as the engine runs. */
  runDir: string;
  socketPath: string;
  bridge: string;
  bridgeAddress: string;
}

/**
 * The place is the same each time, so that an engine finds and ends what a killed one left. The
 * run-time folder is in the temporary folder because a socket's path must fit 107 bytes.
 */
export async function enginePlace(): Promise<EnginePlace> {
  const digest = createHash("sha256").update(cacheDir()).digest();
  const owner = digest.toString("hex").slice(0, 7);
  const runDir = join(tmpdir(), `devmesh-docker-${owner}`);
  await mkdir(runDir, { recursive: true, mode: 0o700 });
  const { uid, mode } = await lstat(runDir);
  if (uid !== process.getuid?.() || (mode & 0o077) !== 0) {
    throw new Error(`${runDir} belongs to somebody else or is open to others`);
  }
  const home = join(cacheDir(), "docker");
  await mkdir(home, { recursive: true });
  return {
    home,
    runDir,
    socketPath: join(runDir, "docker.sock"),
    bridge: `devmesh-${owner}`,
    bridgeAddress: `10.213.${digest[0]}.1/24`,
  };
}

/** Starts the engine. Throws with the last lines of its log when it does not come up. */
export async function startEngine(place: EnginePlace): Promise<Child> {
  const pidPath = join(place.home, "docker.pid");
  await untilGone(pidPath);
  await ensureBridge(place);
  const configPath = join(place.home, "daemon.json");
  await writeFile(configPath, JSON.stringify({ runtimes: runtimes() }));
  const args = [
    ...["--config-file", configPath],
    ...["--host", `unix://${place.socketPath}`],
    ...["--data-root", join(place.home, "data")],
    ...["--exec-root", join(place.runDir, "exec")],
    ...["--pidfile", pidPath],
    // The default bridge may be another engine's, which hands out the same addresses.
    ...["--bridge", place.bridge],
    ...["--shutdown-timeout", "5"],
  ];
  return await startChild(findBinary("dockerd") ?? "dockerd", args, {
    logPath: join(place.home, "dockerd.log"),
    ready: () => engineAnswers(place.socketPath),
    readyTimeoutMs: readyLimitMs,
    // The engine looks for containerd, runc and iptables itself.
    env: { PATH: [process.env.PATH, "/usr/sbin", "/sbin"].join(delimiter) },
  });
}

/**
 * gVisor, where it is installed. Its platform is the one that works on every host; its own
 * network is never used.
 */
function runtimes(): Record<string, { path: string; runtimeArgs: string[] }> {
  const path = findBinary("runsc");
  const runtimeArgs = ["--platform=ptrace", "--network=none"];
  return path === undefined ? {} : { runsc: { path, runtimeArgs } };
}

/** Removes what only a running engine needs. */
export async function removeRuntime({ bridge, runDir }: EnginePlace): Promise<void> {
  if (existsSync(`/sys/class/net/${bridge}`)) await ip(["link", "delete", bridge]);
  await rm(runDir, { recursive: true, force: true });
}

/** An engine whose keeper was killed needs a moment to end its containers. */
async function untilGone(pidPath: string): Promise<void> {
  const deadline = Date.now() + leftoverLimitMs;
  for (;;) {
    const pid = (await readFile(pidPath, "utf8").catch(() => "")).trim();
    const command = await readFile(`/proc/${pid || "none"}/comm`, "utf8").catch(() => "");
    if (command.trim() !== "dockerd") return await rm(pidPath, { force: true });
    if (Date.now() > deadline) throw new Error(`an earlier engine does not end (process ${pid})`);
    await delay(leftoverPollMs);
  }
}

async function ensureBridge({ bridge, bridgeAddress }: EnginePlace): Promise<void> {
  if (existsSync(`/sys/class/net/${bridge}`)) return;
  await ip(["link", "add", bridge, "type", "bridge"]);
  await ip(["address", "add", bridgeAddress, "dev", bridge]);
  await ip(["link", "set", bridge, "up"]);
}

async function ip(args: string[]): Promise<void> {
  await run(findBinary("ip") ?? "ip", args, { timeoutMs: ipLimitMs });
}
