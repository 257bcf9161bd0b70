/** A container engine of the run's own, which may be killed: nobody else's containers are in it. */
import { spawnSync } from "node:child_process";
import { globSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ensureBaseImage } from "../scripts/parts/base-image.ts";
import { type Child, startChild } from "../scripts/parts/child.ts";
import { ensureBinary } from "../scripts/parts/debian.ts";
import { askEngine, engineAnswers } from "../scripts/parts/docker-http.ts";
import { attempt, type Found, missing } from "../scripts/parts/part.ts";
import { isRoot } from "../scripts/parts/run.ts";
import { processesWith } from "./processes.ts";

/** What an engine may have of sandboxes; how each line of `left` begins. */
export const engineKinds = [
  ...["container", "network", "volume", "image", "network namespace"],
] as const;

/** Starts after a kill before it counts as broken. */
const maxStarts = 5;

/** An engine that comes back when it is killed. */
export class ChaosEngine {
  readonly socketPath: string;
  /** The image that its containers are made of. */
  image = "";
  readonly #folder: string;
  readonly #runDir: string;
  #child: Child | undefined;
  /** What it has by itself. */
  #own: ReadonlySet<string> = new Set();

  private constructor(folder: string, runDir: string) {
    this.#folder = folder;
    this.#runDir = runDir;
    this.socketPath = join(runDir, "docker.sock");
  }

  /** Starts one below `folder`, with the base image in it. */
  static async start(folder: string, log: (line: string) => void): Promise<Found<ChaosEngine>> {
    const remedy = "install the package docker.io, and run as root";
    if (!isRoot()) return missing("only root may start a container engine", remedy);
    const binary = await ensureBinary("dockerd", ["docker.io"], { log });
    if (!binary.ok) return binary;
    // A socket's path must fit 107 bytes.
    const engine = new ChaosEngine(folder, mkdtempSync(join(tmpdir(), "dmce-")));
    const started = await attempt(remedy, async () => {
      await engine.#launch();
      const image = await ensureBaseImage(engine.socketPath, { log });
      if (!image.ok) throw new Error(image.reason);
      engine.image = image.value.image;
      engine.#own = new Set(await engine.#content());
      return engine;
    });
    if (!started.ok) await engine.stop();
    return started;
  }

  /** The processes that stand between the engine and its containers. */
  shims(): number[] {
    return processesWith(this.#runDir)
      .filter(({ commandLine }) => /containerd-shim/.test(commandLine.split(" ")[0] ?? ""))
      .map(({ pid }) => pid);
  }

  /** SIGKILL to the engine; it serves again when this resolves. */
  async kill(): Promise<void> {
    const child = this.#child;
    if (child === undefined) return;
    process.kill(child.pid, "SIGKILL");
    await child.ended;
    for (let tries = 1; ; tries++) {
      try {
        return await this.#launch();
      } catch (error) {
        // A busy host is slow to start containerd, which the engine waits for some seconds only.
        if (tries === maxStarts) throw error;
      }
    }
  }

  /** What is in it that was not when it started, a line each. */
  async left(): Promise<string[]> {
    const lines = (await this.#content()).filter((line) => !this.#own.has(line));
    // Of containers with a network of any kind; `default` is the host's.
    const spaces = globSync(join(this.#runDir, "x/netns/*")).filter(
      (path) => !path.endsWith("/default"),
    );
    return [...lines, ...spaces.map((path) => `network namespace ${path}`)];
  }

  /** By its own word. */
  async #content(): Promise<string[]> {
    const of = async (kind: string, path: string, key?: string) => {
      const { body } = await askEngine(this.socketPath, "GET", path);
      const value: unknown = JSON.parse(body);
      const list = key === undefined ? value : (value as Record<string, unknown>)[key];
      const items = (Array.isArray(list) ? list : []) as { Id?: string; Name?: string }[];
      return items.map(({ Id, Name }) => `${kind} ${Id ?? Name}`);
    };
    const found = await Promise.all([
      of("container", "/containers/json?all=1"),
      of("network", "/networks"),
      of("volume", "/volumes", "Volumes"),
      of("image", "/images/json?all=1"),
    ]);
    return found.flat();
  }

  /** Ends it with all that it started. */
  async stop(): Promise<void> {
    await this.#child?.stop();
    this.#child = undefined;
    for (const { pid } of processesWith(this.#runDir)) {
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        // It has ended by itself.
      }
    }
    // An engine that was killed leaves its own folder mounted on itself.
    const mounts = readFileSync("/proc/self/mounts", "utf8").split("\n");
    for (const path of mounts.map((line) => line.split(" ")[1] ?? "").reverse()) {
      if ([this.#folder, this.#runDir].some((own) => path.startsWith(`${own}/`))) {
        spawnSync("umount", ["--lazy", path]);
      }
    }
    rmSync(this.#runDir, { recursive: true, force: true });
  }

  async #launch(): Promise<void> {
    const args = [
      ...["--host", `unix://${this.socketPath}`],
      ...["--data-root", join(this.#folder, "data")],
      ...["--exec-root", join(this.#runDir, "x")],
      ...["--pidfile", join(this.#runDir, "docker.pid")],
      // Sandboxes have no network: the host's own is left alone.
      ...["--bridge", "none", "--iptables=false", "--ip6tables=false", "--ip-forward=false"],
      ...["--shutdown-timeout", "5"],
    ];
    rmSync(join(this.#runDir, "docker.pid"), { force: true });
    this.#child = await startChild("dockerd", args, {
      logPath: join(this.#folder, "dockerd.log"),
      ready: () => engineAnswers(this.socketPath),
      readyTimeoutMs: 60_000,
      env: { PATH: `${process.env.PATH ?? ""}:/usr/sbin:/sbin` },
    });
  }
}
