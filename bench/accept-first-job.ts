/** From nothing to a first green job, and the bare programs that it cannot be quicker than. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createDevmesh } from "@devmesh/sdk/node";
import { runJob } from "./accept-jobs.ts";
import { type Figures, percentile, type System } from "./bench.ts";
import { startPlatformChild } from "./platform-child.ts";

/** `devmesh up` on an empty data folder, then one job, watched to its result. */
export function firstGreenJob(): System {
  return {
    name: "devmesh up, then a job of `true`",
    async round() {
      const startedAt = performance.now();
      const platform = await startPlatformChild();
      const devmesh = createDevmesh({ baseUrl: platform.url, token: platform.token });
      try {
        await runJob(devmesh);
        return { ms: performance.now() - startedAt, upMs: platform.upMs };
      } finally {
        devmesh.close();
        await platform.close();
      }
    },
    close: async () => {},
  };
}

/** A Node that does nothing. */
export function bareNode(): System {
  return {
    name: "bare node -e 0",
    round: async () => ({ ms: await timeOf(process.execPath, ["-e", "0"]) }),
    close: async () => {},
  };
}

/** Bubblewrap with every namespace of its own around `true`. */
export function bareBubblewrap(times: number): System {
  // Not the whole root: a mount that goes away meanwhile would make bubblewrap fail.
  const folders = ["/usr", "/bin", "/lib", "/lib64"];
  const binds = folders.flatMap((path) => ["--ro-bind-try", path, path]);
  const args = [...binds, "--unshare-all", "--die-with-parent", "true"];
  return {
    name: "bare bwrap true",
    async round(): Promise<Figures> {
      const taken: number[] = [];
      for (let i = 0; i < times; i++) taken.push(await timeOf("bwrap", args));
      const ms = percentile(taken, 0.5);
      return times === 1 ? { ms } : { wholeP50Ms: ms, wholeP99Ms: percentile(taken, 0.99) };
    },
    close: async () => {},
  };
}

async function timeOf(program: string, args: readonly string[]): Promise<number> {
  const startedAt = performance.now();
  const [code] = await once(spawn(program, args, { stdio: "ignore" }), "exit");
  if (code !== 0) throw new Error(`${program} ended with ${code}`);
  return performance.now() - startedAt;
}
