/** One container with its supervisor; every program is an exec of the engine. */
import { randomUUID } from "node:crypto";
import type { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { DevmeshError } from "@devmesh/mesh/errors";
import type { Container } from "dockerode";
import type { ExecSpec, Sandbox, SandboxProcess, SandboxSpec } from "../driver.ts";
import { checkExec, commandNotFound, sandboxFailed } from "../driver-errors.ts";
import { packCommand, readArchive, unpackCommand, unpackFailure } from "../sandbox-tar.ts";
import { guardTar } from "../tar-guard.ts";
import { within } from "../within.ts";
import { DockerProcess, statusOf } from "./docker-process.ts";
import { type Supervisor, tokenVariable } from "./supervisor.ts";

/** How long the engine may take to start a program. */
const startTimeoutMs = 30_000;

/** What a container sandbox is made of; all of it runs. */
export interface DockerSandboxOptions {
  readonly spec: SandboxSpec;
  readonly container: Container;
  readonly supervisor: Supervisor;
  /** Removes all that belongs to the sandbox. */
  readonly remove: () => Promise<void>;
}

/** A sandbox of a container engine. */
export class DockerSandbox implements Sandbox {
  readonly id: string;
  readonly jobId: string;
  readonly driver = "docker";
  readonly createdAtMs = Date.now();
  readonly #options: DockerSandboxOptions;
  /** Those whose output has not been read to its end. */
  readonly #programs = new Set<DockerProcess>();
  #deletion: Promise<void> | undefined;

  constructor(options: DockerSandboxOptions) {
    this.id = options.spec.id;
    this.jobId = options.spec.jobId;
    this.#options = options;
  }

  async put(tar: Readable, signal?: AbortSignal): Promise<void> {
    const maxBytes = this.#options.spec.limits.diskMib * 1024 * 1024;
    const program = await this.#start({ argv: unpackCommand, env: {} }, true, signal);
    const errors = textOf(program);
    try {
      await pipeline(guardTar(tar, { maxBytes }, signal), program.stdin, {
        ...(signal && { signal }),
      });
    } catch (error: unknown) {
      // tar may have ended first: what it said tells more than a broken pipe.
      if (!(error instanceof Error && "code" in error && error.code === "EPIPE")) {
        await program.signal("SIGKILL");
        await program.exit;
        if (signal?.aborted)
          throw new DevmeshError("CANCELLED", "the upload was cancelled", { cause: error });
        throw error;
      }
    }
    const text = await errors;
    const { exitCode } = await program.exit;
    if (exitCode !== 0) throw unpackFailure("docker", exitCode, text);
  }

  exec(spec: ExecSpec, signal?: AbortSignal): Promise<SandboxProcess> {
    return this.#start(spec, false, signal);
  }

  async get(signal?: AbortSignal): Promise<Readable> {
    return readArchive(
      "docker",
      await this.#start({ argv: packCommand, env: {} }, false, signal),
      signal,
    );
  }

  delete(): Promise<void> {
    this.#deletion ??= this.#delete().catch((error: unknown) => {
      // Kept in the driver's list: it can be tried again.
      this.#deletion = undefined;
      throw sandboxFailed("docker", `${this.id} could not be removed`, error);
    });
    return this.#deletion;
  }

  get receipt(): never {
    throw sandboxFailed("docker", "receipts are not built");
  }

  stats(): never {
    throw sandboxFailed("docker", "stats are not built");
  }

  freeze(): never {
    throw sandboxFailed("docker", "freezing is not built");
  }

  resume(): never {
    throw sandboxFailed("docker", "freezing is not built");
  }

  async #delete(): Promise<void> {
    await this.#options.remove();
    // Nothing writes any more: what is left is little, and its connections can go.
    for (const program of this.#programs) program.keepRest();
  }

  async #start(spec: ExecSpec, stdin: boolean, signal?: AbortSignal): Promise<DockerProcess> {
    if (this.#deletion) throw sandboxFailed("docker", `${this.id} is deleted`);
    if (signal?.aborted) throw new DevmeshError("CANCELLED", "the start was cancelled");
    checkExec(spec);
    const token = randomUUID();
    const variables = { ...spec.env, [tokenVariable]: token };
    const start = async () => {
      const exec = await this.#options.container.exec({
        Cmd: [...spec.argv],
        Env: Object.entries(variables).map(([key, value]) => `${key}=${value}`),
        WorkingDir: spec.cwd ?? "/work",
        AttachStdin: stdin,
        AttachStdout: true,
        AttachStderr: true,
        Tty: false,
      });
      const stream = await exec.start({ hijack: true, stdin, Tty: false });
      const program = new DockerProcess(exec, stream, token, this.#options.supervisor);
      await program.started(spec.argv[0] ?? "");
      this.#programs.add(program);
      program.closed.then(() => this.#programs.delete(program));
      return program;
    };
    try {
      return await within(startTimeoutMs, start(), signal, (late) => late.signal("SIGKILL"));
    } catch (error: unknown) {
      if (error instanceof DevmeshError) throw error;
      if (statusOf(error) === 400)
        throw commandNotFound(spec.argv[0] ?? "", "the engine refuses it");
      throw sandboxFailed("docker", "the program could not be started", error);
    }
  }
}

async function textOf(program: SandboxProcess): Promise<string> {
  let text = "";
  for await (const { data } of program.output()) if (text.length < 4096) text += data.toString();
  return text;
}
