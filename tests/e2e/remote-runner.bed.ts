/** What the tests of remote runners share: a backend on one address, and hosts that join it. */
import { randomBytes } from "node:crypto";
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { createDevmesh, JobStatus, type NodeDevmesh } from "../../sdk/ts/src/node.ts";
import { type TempFolder, tempFolder } from "../sdk/temp-folder.ts";
import { type Program, startProgram } from "./program.ts";
import { until } from "./wait.ts";

/** How a runner is started. */
export interface RunnerStart {
  readonly name: string;
  readonly labels: string;
  /** What enters its host. */
  readonly prefix?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Default: one of its own. */
  readonly token?: string;
  /** Default: the backend's. */
  readonly url?: string;
}

/** A runner that has joined. */
export interface Joined {
  readonly program: Program;
  /** The id under which the backend knows it. */
  readonly id: string;
}

/** A backend and its runners. */
export class RemoteBed {
  readonly folder: TempFolder;
  readonly url: string;
  readonly token: string;
  readonly devmesh: NodeDevmesh;
  readonly #programs: Program[] = [];

  private constructor(folder: TempFolder, url: string, token: string, up: Program) {
    this.folder = folder;
    this.url = url;
    this.token = token;
    this.devmesh = createDevmesh({ baseUrl: url, token, insecure: true });
    this.#programs.push(up);
  }

  /** Starts the platform on `host`; its own runner has no labels. */
  static async open(host: string, env: Readonly<Record<string, string>>): Promise<RemoteBed> {
    const folder = tempFolder();
    const dataDir = join(folder.path, "up");
    const args = ["up", "--json", "--api-port", "0", "--private-ports", "auto"];
    const home = { HOME: folder.path, SANDBOX_DRIVERS: "process", API_HOST: host };
    const up = startProgram({
      args: [...args, "--data-dir", dataDir],
      env: { ...home, ...env },
    });
    const line = await until("the platform serves", () => {
      if (up.child.exitCode !== null) throw new Error(`up has ended: ${up.err()}`);
      return up.out().includes("\n") && up.out();
    });
    const { url, ownerTokenPath } = JSON.parse(line) as { url: string; ownerTokenPath: string };
    const token = readFileSync(ownerTokenPath, "utf8").trim();
    return new RemoteBed(folder, `http://${host}:${new URL(url).port}`, token, up);
  }

  /** Makes a token that may run jobs and nothing else. */
  async runnerToken(name: string): Promise<{ id: string; secret: string }> {
    const { token, secret } = await this.devmesh.tokens.create({ name, scopes: ["run:jobs"] });
    return { id: token.id, secret };
  }

  /** Starts a runner that joins, and resolves when it takes jobs. */
  async join(start: RunnerStart): Promise<Joined> {
    const program = await this.startRunner(start);
    const presence = join(this.folder.path, start.name, "runner.json");
    const id = await until(`${start.name} takes jobs`, async () => {
      if (program.child.exitCode !== null) throw new Error(`it has ended: ${program.err()}`);
      try {
        const { id } = JSON.parse(readFileSync(presence, "utf8")) as { id: string };
        const agent = (await this.devmesh.agents.list()).find((agent) => agent.id === id);
        return agent?.capabilities.some(({ available }) => available) && id;
      } catch {
        // It has not joined yet.
        return undefined;
      }
    });
    return { program, id };
  }

  /** Starts a runner. */
  async startRunner(start: RunnerStart): Promise<Program> {
    const { name, labels, prefix = [], env = {}, token, url = this.url } = start;
    const stateDir = join(this.folder.path, name);
    mkdirSync(stateDir, { recursive: true });
    const secret = token ?? (await this.runnerToken(name)).secret;
    const program = startProgram({
      prefix,
      args: [
        ...["runner", "--join", url, "--insecure", "--labels", labels],
        ...["--state-dir", stateDir, "--capacity", "2"],
      ],
      env: {
        ...{ HOME: stateDir, SANDBOX_DRIVERS: "process", LOG_LEVEL: "debug" },
        ...{ DEVMESH_TOKEN: secret, STOP_GRACE_MS: "500" },
        ...env,
      },
      quiet: true,
    });
    this.#programs.push(program);
    return program;
  }

  /** Hands a command in that wants labels. */
  async start(script: string, runnerLabels: Record<string, string>): Promise<string> {
    const command = ["sh", "-c", script];
    return (await this.devmesh.jobs.create({ command, runnerLabels })).jobId;
  }

  /** Resolves when a job's log has a line; answers the attempt and the runner. */
  async untilLine(id: string, line: string): Promise<{ attempt: number; runner: string }> {
    let text = "";
    for await (const { kind } of this.devmesh.jobs.watch(id)) {
      if (kind.case === "log") text += Buffer.from(kind.value.data).toString();
      if (text.includes(line)) {
        const { attempt, runner } = await this.devmesh.jobs.get(id);
        return { attempt, runner };
      }
    }
    throw new Error(`the job ended before ${line}`);
  }

  /** What the last attempt wrote, and how often the job was started, of events without a gap. */
  async story(id: string): Promise<{ log: string; starts: number }> {
    let pieces: Uint8Array[] = [];
    let starts = 0;
    let seq = 0;
    for await (const event of this.devmesh.jobs.events(id)) {
      seq += 1;
      if (event.seq !== seq) throw new Error(`event ${event.seq} stands where ${seq} must`);
      const { kind } = event;
      if (kind.case === "status" && kind.value.status === JobStatus.RUNNING) {
        pieces = [];
        starts += 1;
      }
      if (kind.case === "log") pieces.push(kind.value.data);
    }
    return { log: Buffer.concat(pieces).toString(), starts };
  }

  /** Ends it all; `mend` what keeps runners from the backend before. */
  async close(): Promise<void> {
    this.devmesh.close();
    const [up, ...runners] = this.#programs;
    for (const program of [...runners, up]) {
      if (program === undefined || program.child.exitCode !== null) continue;
      program.child.kill("SIGCONT");
      await program.end("SIGTERM");
    }
    this.folder[Symbol.dispose]();
  }
}

/** Text that no other job writes. */
export function marker(): string {
  return `marker-${randomBytes(6).toString("hex")}`;
}
