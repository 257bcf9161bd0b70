/** The platform under test: a process of its own that takes jobs and never runs one. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { startUp, type Up } from "../e2e/up.ts";
import { type TempFolder, tempFolder } from "../sdk/temp-folder.ts";
import { makeWorld, type World } from "./world.ts";

/** A secret that the platform knows and nobody may be told. */
const planted = "sk-planted-0123456789abcdef";

/** A platform with a few things in it. */
export interface FuzzedPlatform {
  readonly up: Up;
  readonly port: number;
  readonly world: World;
  /** What may stand in no answer. */
  readonly secrets: readonly string[];
  /** Memory that it occupies, in MiB. */
  rssMib(): number;
  /** True if its process is gone. */
  hasEnded(): boolean;
  /** True if its process is the one that was started, and it answers as it should. */
  isSound(): Promise<boolean>;
  /** What it calls internal errors in its log. */
  internalErrors(): string[];
  stop(): Promise<void>;
}

/** Starts it. */
export async function startFuzzed(): Promise<FuzzedPlatform> {
  const folder: TempFolder = tempFolder();
  const script = {
    models: [
      { name: "chat", roles: ["chat", "coding"] },
      { name: "words", roles: ["embeddings"], dimensions: 16 },
    ],
    conversations: [{ when: { contains: "" }, turns: [{ pieces: [{ text: "Yes." }] }] }],
  };
  const up = await startUp({
    dataDir: join(folder.path, "data"),
    env: {
      SCRIPTED_PATH: folder.write("script.json", JSON.stringify(script)),
      CLOUD_API_KEYS: `anthropic=${planted}`,
      // A driver that finds nothing: the platform's own runner takes no job.
      SANDBOX_DRIVERS: "docker",
      DOCKER_HOST: "unix:///nowhere/docker.sock",
      LEASE_TTL_MS: "600000",
      REQUEST_TIMEOUT_MS: "15000",
      WS_PING_INTERVAL_MS: "100",
    },
  });
  const stop = async () => {
    await up.stop("SIGKILL");
    folder[Symbol.dispose]();
  };
  const world = await makeWorld(up.url, up.token).catch(async (error: unknown) => {
    await stop();
    throw error;
  });
  const secrets = [planted, up.token, folder.path, "node_modules", "    at ", ".ts:"];
  return {
    up,
    port: up.ports.api,
    world,
    secrets,
    rssMib() {
      const status = readFileSync(`/proc/${up.pid}/status`, "utf8");
      return Math.round(Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1024);
    },
    hasEnded() {
      try {
        process.kill(up.pid, 0);
        return false;
      } catch {
        // There is no such process.
        return true;
      }
    },
    async isSound() {
      try {
        const healthy = await fetch(`${up.url}/livez`);
        await healthy.arrayBuffer();
        const headers = { authorization: `Bearer ${up.token}` };
        const call = await fetch(`${up.url}/v1/jobs?pageSize=1`, { headers });
        await call.arrayBuffer();
        // A limit that a case has set refuses this call as it should.
        return healthy.ok && (call.ok || call.status === 429);
      } catch {
        // There is no answer, or no process.
        return false;
      }
    },
    internalErrors: () =>
      up
        .log()
        .split("\n")
        .filter((line) => line.includes('"outcome":"INTERNAL"')),
    stop,
  };
}
