/**
 * Owns one sandbox: what is asked of it becomes programs of its guest. Making and booting
 * the guest is left to `qemu-driver.ts` and `boot.ts`.
 */
import { rm } from "node:fs/promises";
import { constants } from "node:os";
import { Readable } from "node:stream";
import { DevmeshError } from "@devmesh/mesh/errors";
import type { ExecSpec, ExitState, OutputChunk, Sandbox, SandboxProcess } from "../driver.ts";
import { checkExec, commandNotFound, sandboxFailed, sandboxVariables } from "../driver-errors.ts";
import { guardTar } from "../tar-guard.ts";
import type { ResidentChannel, ResidentProgram } from "./channel.ts";
import { type ResidentStream, StartRefusal } from "./stream.ts";

/** Where a resident runs. */
export interface Cage {
  readonly channel: ResidentChannel;
  /** Ends it at once, whatever it is doing; nothing of it is left on the host then. */
  remove(): Promise<void>;
}

/** What a sandbox is made of. */
export interface ResidentSandboxOptions {
  readonly id: string;
  readonly jobId: string;
  readonly createdAtMs: number;
  readonly cage: Cage;
  /** Its folder on the host; removed with it. */
  readonly folder: string;
  readonly diskMib: number;
  /** Called once, when it is gone. */
  readonly onDeleted: () => void;
}

const WORK = "/work";
const TAR = "/usr/bin/tar";
const WORDS_BYTES = 2_048;

/** A virtual machine as a sandbox. */
export class ResidentSandbox implements Sandbox {
  readonly id: string;
  readonly jobId: string;
  readonly driver = "qemu";
  readonly createdAtMs: number;
  readonly #options: ResidentSandboxOptions;
  #deleted: Promise<void> | undefined;

  constructor(options: ResidentSandboxOptions) {
    this.id = options.id;
    this.jobId = options.jobId;
    this.createdAtMs = options.createdAtMs;
    this.#options = options;
  }

  async put(tar: Readable, signal?: AbortSignal): Promise<void> {
    const { diskMib } = this.#options;
    const checked = guardTar(tar, { maxBytes: diskMib * 2 ** 20 }, signal);
    const argv = [TAR, "-x", "-p", "--no-same-owner", "--warning=no-timestamp", "-f", "-"];
    const stream = this.#start({ argv, rights: "user", input: true });
    const words = lastWords(stream);
    const stop = closeOn(signal, stream);
    try {
      await stream.started;
      for await (const data of checked) await stream.write(data);
      stream.end();
      const { status } = await stream.exit;
      if (status !== 0) throw unpackFailed(await words, diskMib);
    } catch (error: unknown) {
      stream.close();
      throw signal?.aborted ? cancelled(error) : error;
    } finally {
      stop();
      checked.destroy();
      tar.destroy();
    }
  }

  async exec(spec: ExecSpec, signal?: AbortSignal): Promise<SandboxProcess> {
    checkExec(spec);
    const [command = ""] = spec.argv;
    const stream = this.#start({
      argv: spec.argv,
      env: { ...sandboxVariables, ...spec.env },
      cwd: spec.cwd ?? WORK,
      rights: "job",
      input: false,
    });
    const stop = closeOn(signal, stream);
    try {
      await stream.started;
      return new ResidentProcess(stream);
    } catch (error: unknown) {
      if (signal?.aborted) throw cancelled(error);
      throw error instanceof StartRefusal ? refusalOf(error, command, spec.cwd) : error;
    } finally {
      stop();
    }
  }

  async get(signal?: AbortSignal): Promise<Readable> {
    // As root, since the job may have left folders that its own user cannot read.
    const argv = [TAR, "-c", "--numeric-owner", "-f", "-", "."];
    const stream = this.#start({ argv, rights: "root", input: false });
    const stop = closeOn(signal, stream);
    try {
      await stream.started;
      return Readable.from(packed(stream, stop, signal), { objectMode: false });
    } catch (error: unknown) {
      stop();
      throw signal?.aborted ? cancelled(error) : error;
    }
  }

  delete(): Promise<void> {
    this.#deleted ??= this.#delete();
    return this.#deleted;
  }

  get receipt(): never {
    throw sandboxFailed("qemu", "receipts are not built");
  }

  stats(): never {
    throw sandboxFailed("qemu", "stats are not built");
  }

  freeze(): never {
    throw sandboxFailed("qemu", "freezing is not built");
  }

  resume(): never {
    throw sandboxFailed("qemu", "freezing is not built");
  }

  async #delete(): Promise<void> {
    const { cage, folder, onDeleted } = this.#options;
    await cage.remove();
    await rm(folder, { recursive: true, force: true });
    onDeleted();
  }

  #start(program: Partial<ResidentProgram> & Pick<ResidentProgram, "argv" | "rights" | "input">) {
    return this.#options.cage.channel.start({ env: sandboxVariables, cwd: WORK, ...program });
  }
}

/** A program in a guest. */
class ResidentProcess implements SandboxProcess {
  readonly exit: Promise<ExitState>;
  readonly #stream: ResidentStream;
  #taken = false;

  constructor(stream: ResidentStream) {
    this.#stream = stream;
    this.exit = stream.exit.then(({ status, memoryKill }) => ({
      exitCode: status,
      // A program that went on after a child of it was killed has not been ended by the cap.
      outOfMemory: memoryKill && status === 128 + constants.signals.SIGKILL,
    }));
    this.exit.catch(() => {});
  }

  output(): AsyncIterable<OutputChunk> {
    if (this.#taken) throw new DevmeshError("WRONG_STATE", "the output is being read already");
    this.#taken = true;
    return this.#stream.chunks();
  }

  async signal(name: "SIGTERM" | "SIGKILL" | "SIGINT"): Promise<void> {
    this.#stream.signal(constants.signals[name]);
  }
}

/** The archive that tar writes; ends with an error where tar failed. */
async function* packed(stream: ResidentStream, stop: () => void, signal?: AbortSignal) {
  let words = "";
  try {
    for await (const { stream: source, data } of stream.chunks()) {
      if (source === "stdout") yield data;
      else words = (words + data.toString("utf8")).slice(-WORDS_BYTES);
    }
    const { status } = await stream.exit;
    // 1: files changed while they were read. The archive is whole all the same.
    if (status > 1) throw failed(`the work dir cannot be packed: ${words}`);
  } catch (error: unknown) {
    throw signal?.aborted ? cancelled(error) : error;
  } finally {
    stop();
    stream.close();
  }
}

/** Reads a stream to its end and answers the last part of it. */
async function lastWords(stream: ResidentStream): Promise<string> {
  let words = "";
  try {
    for await (const { data } of stream.chunks()) {
      words = (words + data.toString("utf8")).slice(-WORDS_BYTES);
    }
  } catch (error: unknown) {
    // The stream's user sees the same error by its exit; here it only ends the words.
    words += error instanceof Error ? error.message : "";
  }
  return words.trim();
}

/** Gives the stream up when `signal` fires; the answer takes that back. */
function closeOn(signal: AbortSignal | undefined, stream: ResidentStream): () => void {
  const close = () => stream.close();
  if (signal?.aborted) close();
  signal?.addEventListener("abort", close, { once: true });
  return () => signal?.removeEventListener("abort", close);
}

function refusalOf(error: StartRefusal, command: string, cwd = WORK): DevmeshError {
  if (error.stage === "exec") return commandNotFound(command, error.message);
  if (error.stage === "cwd") return commandNotFound(command, `${cwd}: ${error.message}`);
  return failed(`${command} cannot be started: ${error.message}`, error);
}

function unpackFailed(words: string, diskMib: number): DevmeshError {
  const message = words.includes("No space left on device")
    ? `the archive does not fit on the sandbox's disk (${diskMib} MiB)`
    : `the archive cannot be unpacked: ${words}`;
  return new DevmeshError("WORKSPACE_INVALID", message, { metadata: { path: "" } });
}

function failed(message: string, cause?: unknown): DevmeshError {
  return sandboxFailed("qemu", message, cause);
}

function cancelled(cause: unknown): DevmeshError {
  return new DevmeshError("CANCELLED", "the call was cancelled", { cause });
}
