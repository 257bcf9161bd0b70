/** A platform of its own for the demo: started as a user would, stopped at the end. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { createDevmesh, type NodeDevmesh } from "../../sdk/ts/src/node.ts";

/** A platform that runs. */
export interface DemoPlatform {
  readonly devmesh: NodeDevmesh;
  readonly url: string;
  readonly consoleUrl: string;
  /** Stops it and removes its data. */
  stop(): Promise<void>;
  /** Lets it run on; answers its process id. */
  leave(): number;
}

interface UpLine {
  readonly url: string;
  readonly console: string;
  readonly ownerTokenPath: string;
}

/** Starts `devmesh up` with a fresh data folder and further environment variables. */
export async function startPlatform(env: Record<string, string>): Promise<DemoPlatform> {
  const root = join(import.meta.dirname, "..", "..");
  const dataDir = mkdtempSync(join(tmpdir(), "devmesh-demo-"));
  const args = ["cli/bin/devmesh.js", "up", "--json", "--dev"];
  const child = spawn(
    process.execPath,
    [...args, "--api-port", "0", "--private-ports", "auto", "--data-dir", dataDir],
    {
      cwd: root,
      // Not npm's child: with --keep the platform outlives this command.
      env: { ...process.env, npm_lifecycle_event: undefined, ...env },
      stdio: ["ignore", "pipe", "inherit"],
      detached: true,
    },
  );
  const end = () => child.kill("SIGTERM");
  process.once("exit", end);
  const up = await firstLine(child);
  const token = readFileSync(up.ownerTokenPath, "utf8").trim();
  const devmesh = createDevmesh({ baseUrl: up.url, token });
  return {
    devmesh,
    url: up.url,
    consoleUrl: up.console,
    async stop() {
      devmesh.close();
      process.removeListener("exit", end);
      const ended = new Promise((resolve) => child.once("exit", resolve));
      end();
      await ended;
      rmSync(dataDir, { recursive: true, force: true });
    },
    leave() {
      devmesh.close();
      process.removeListener("exit", end);
      child.stdout?.destroy();
      child.unref();
      return child.pid ?? 0;
    },
  };
}

function firstLine(child: ChildProcess): Promise<UpLine> {
  return new Promise((resolve, reject) => {
    child.once("exit", (code) => reject(new Error(`devmesh up ended with status ${code}`)));
    if (child.stdout === null) return reject(new Error("devmesh up has no output"));
    createInterface(child.stdout).once("line", (line) => resolve(JSON.parse(line) as UpLine));
  });
}
