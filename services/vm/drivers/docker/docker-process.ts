/** One program that an engine runs in a container. */
import { PassThrough, type Readable, type Writable } from "node:stream";
import { setTimeout as pause } from "node:timers/promises";
import { DevmeshError } from "@devmesh/mesh/errors";
import type { Exec } from "dockerode";
import type { ExitState, OutputChunk, SandboxProcess } from "../driver.ts";
import { commandNotFound, sandboxFailed } from "../driver-errors.ts";
import { ProgramOutput } from "../program-output.ts";
import { frames } from "./frames.ts";
import type { Supervisor } from "./supervisor.ts";

/** How often the engine is asked for an end while the output stays open. */
const lookEveryMs = 100;
const soonMs = 2;

/** What the engine says of a program. */
interface Look {
  readonly running: boolean;
  readonly pid: number;
  readonly exitCode: number | undefined;
}

/** A program in a container, from its start on. */
export class DockerProcess implements SandboxProcess {
  readonly exit: Promise<ExitState>;
  /** Resolves when all of its output has come in. */
  readonly closed: Promise<void>;
  /** The program's input, where it was asked for. */
  readonly stdin: Writable;
  readonly #exec: Exec;
  readonly #token: string;
  readonly #supervisor: Supervisor;
  readonly #streams = { stdout: new PassThrough(), stderr: new PassThrough() };
  readonly #output = new ProgramOutput(this.#streams.stdout, this.#streams.stderr);
  readonly #kills: Promise<number>;
  #ended = false;
  #closed = false;

  constructor(exec: Exec, stream: NodeJS.ReadWriteStream, token: string, supervisor: Supervisor) {
    this.#exec = exec;
    this.#token = token;
    this.#supervisor = supervisor;
    this.stdin = stream as unknown as Writable;
    this.#kills = killsOf(supervisor);
    // A write after the program's end; its exit code tells.
    stream.on("error", () => {});
    this.closed = this.#pump(stream as unknown as Readable);
    this.exit = this.#waitForEnd();
    // Whoever asks for it meets the failure; nobody may.
    this.exit.catch(() => {});
  }

  output(): AsyncIterable<OutputChunk> {
    return this.#output.read();
  }

  /** Reads what is left of the output into memory. For after the container's end. */
  keepRest(): void {
    this.#output.keepRest();
  }

  async signal(name: "SIGTERM" | "SIGKILL" | "SIGINT"): Promise<void> {
    if (this.#ended) return;
    try {
      await this.#supervisor.signal(this.#token, name);
    } catch (error: unknown) {
      // The container has ended under us, and the program with it.
      if (!this.#ended && (await this.#look()).running) throw error;
    }
  }

  /**
   * Resolves when the program runs or has run. Throws COMMAND_NOT_FOUND when
   * the engine could not start it.
   */
  async started(command: string): Promise<void> {
    for (;;) {
      const { running, pid, exitCode } = await this.#look();
      if (pid > 0) return;
      if (!running && exitCode !== undefined) break;
      await pause(soonMs);
    }
    let text = "";
    for await (const { data } of this.#output.read())
      if (text.length < 4096) text += data.toString();
    const reason = text.trim().replace(/: unknown$/, "");
    if (
      /no such file|not found|permission denied|is a directory|not a directory|chdir|exec format/i.test(
        reason,
      )
    ) {
      throw commandNotFound(command, reason.split(": ").at(-1) ?? "");
    }
    throw sandboxFailed("docker", "the engine could not start the program", new Error(reason));
  }

  async #pump(source: Readable): Promise<void> {
    let failure: Error | undefined;
    try {
      for await (const { stream, data } of frames(source)) {
        const target = this.#streams[stream];
        if (!target.write(data)) await new Promise((resolve) => target.once("drain", resolve));
      }
    } catch (error: unknown) {
      failure = error instanceof Error ? error : new Error(String(error));
    }
    this.#closed = true;
    for (const target of Object.values(this.#streams)) {
      if (failure) target.destroy(failure);
      else target.end();
    }
  }

  /** The engine's word is the truth; the end of the output is a hint to ask for it. */
  async #waitForEnd(): Promise<ExitState> {
    let wait = soonMs;
    for (;;) {
      const { running, exitCode } = await this.#look();
      if (!running && exitCode !== undefined) {
        this.#ended = true;
        const killed = exitCode === 137 && (await killsOf(this.#supervisor)) > (await this.#kills);
        return { exitCode, outOfMemory: killed };
      }
      await pause(wait);
      wait = this.#closed ? soonMs : Math.min(2 * wait, lookEveryMs);
    }
  }

  async #look(): Promise<Look> {
    try {
      const { Running, Pid, ExitCode } = await this.#exec.inspect();
      return { running: Running, pid: Pid, exitCode: ExitCode ?? undefined };
    } catch (error: unknown) {
      // 404: the container is gone with all that ran in it. 409: it has ended.
      if (statusOf(error) === 404 || statusOf(error) === 409) {
        return { running: false, pid: 1, exitCode: 137 };
      }
      throw sandboxFailed("docker", "the engine does not answer", error);
    }
  }
}

/** The HTTP status of an engine's refusal; undefined for anything else. */
export function statusOf(error: unknown): number | undefined {
  return error instanceof Error && "statusCode" in error ? Number(error.statusCode) : undefined;
}

/** 0 where the container has ended: then that, and not the cap, ended the program. */
async function killsOf(supervisor: Supervisor): Promise<number> {
  try {
    return await supervisor.oomKills();
  } catch (error: unknown) {
    if (error instanceof DevmeshError) return 0;
    throw error;
  }
}
