/** The processes of the inference bench: the upstream, the bare proxy and devmesh before it. */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import type { Target } from "./infer-client.ts";
import { startPlatformChild } from "./platform-child.ts";

/** What is compared; the first is without anything between. */
export const systemNames = ["direct", "undici proxy", "devmesh"] as const;

/** One of them. */
export type SystemName = (typeof systemNames)[number];

/** All of them, up. */
export interface Gateways {
  readonly targets: Readonly<Record<SystemName, Target>>;
  /** The process that stands between; `direct` has the upstream's. */
  readonly pids: Readonly<Record<SystemName, number>>;
  close(): Promise<void>;
}

/** Starts everything; devmesh has its token, policy, accounting, audit and log on. */
export async function openGateways(): Promise<Gateways> {
  const upstream = fork(new URL("infer-upstream.ts", import.meta.url).pathname);
  const upstreamUrl = `http://127.0.0.1:${await portOf(upstream)}`;
  const proxy = fork(new URL("infer-proxy.ts", import.meta.url).pathname, [upstreamUrl]);
  const proxyUrl = `http://127.0.0.1:${await portOf(proxy)}`;
  const platform = await startPlatformChild({
    env: { CLOUD_PROVIDER_BASE_URL: `${upstreamUrl}/v1` },
  });
  return {
    targets: {
      direct: { url: upstreamUrl },
      "undici proxy": { url: proxyUrl },
      devmesh: { url: platform.url, token: platform.token, prefix: "openai/" },
    },
    pids: { direct: upstream.pid ?? 0, "undici proxy": proxy.pid ?? 0, devmesh: platform.pid },
    async close() {
      await platform.close();
      for (const child of [proxy, upstream]) {
        const ended = once(child, "exit");
        child.disconnect();
        await ended;
      }
    },
  };
}

async function portOf(child: ChildProcess): Promise<number> {
  const [port] = await once(child, "message");
  return Number(port);
}
