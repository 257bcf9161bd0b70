/**
 * Owns one sandbox: what is asked of it becomes programs of its resident. Making and ending
 * what the resident runs in is left to the drivers, by way of their cages.
 */
import { Readable } from "node:stream";
import { DevmeshError } from "@devmesh/mesh/errors";
import type { ExecSpec, Sandbox, SandboxProcess, SandboxStats } from "../driver.ts";
import { checkExec, commandNotFound, sandboxFailed, sandboxVariables } from "../driver-errors.ts";
import type { SandboxReceipt } from "../receipt.ts";
import { guardTar } from "../tar-guard.ts";
import { within } from "../within.ts";
import type { ResidentChannel, ResidentProgram } from "./channel.ts";
import { type CapCounts, ResidentProcess } from "./resident-process.ts";
import { type ResidentStream, StartRefusal } from "./stream.ts";

export type { CapCounts } from "./resident-process.ts";

/** Where a resident runs: what a driver makes, and all that only it can do. */
export interface Cage {
  /** The driver's name; in errors. */
  readonly driver: string;
  readonly channel: ResidentChannel;
  /** Read back when the cage was made. */
  readonly receipt: SandboxReceipt;
  /** Ends it at once, from every state; nothing of it is left on the host then. */
  remove(): Promise<void>;
  stats(): Promise<SandboxStats>;
  /** Stops all that runs in it. Idempotent. */
  freeze(): Promise<void>;
  /** Lets it go on. Idempotent. */
  resume(): Promise<void>;
  /** What the host's kernel has counted for it. Absent: the resident's own kernel tells. */
  counts?(): Promise<CapCounts>;
  /** How many processes beside the resident run in it; 0 when it is gone. Never throws. */
  processes?(): Promise<number>;
  /** Ends them from the host, for a resident that does not come to its turn among them. */
  endPrograms?(): Promise<void>;
}

/** What a sandbox is made of. */
export interface ResidentSandboxOptions {
  readonly id: string;
  readonly jobId: string;
  readonly createdAtMs: number;
  readonly cage: Cage;
  readonly diskMib: number;
  /** Called once, when it is gone. */
  readonly onDeleted: () => void;
}

const workFolder = "/work";
const wordsBytes = 2_048;
/** The resident gives up after seven seconds by itself. */
const programsEndWithinMs = 8_000;
/** A resident has done it within this, unless the programs take all that there is. */
const residentTurnMs = 2_000;

/** A sandbox by its resident. */
export class ResidentSandbox implements Sandbox {
  readonly id: string;
  readonly jobId: string;
  readonly driver: string;
  readonly createdAtMs: number;
  readonly processes?: () => Promise<number>;
  readonly #options: ResidentSandboxOptions;
  readonly #cage: Cage;
  #deletion: Promise<void> | undefined;
  #isDeleted = false;

  constructor(options: ResidentSandboxOptions) {
    this.id = options.id;
    this.jobId = options.jobId;
    this.createdAtMs = options.createdAtMs;
    this.#options = options;
    this.#cage = options.cage;
    this.driver = options.cage.driver;
    const { processes } = options.cage;
    if (processes) this.processes = async () => (this.#isDeleted ? 0 : await processes());
  }

  async put(tar: Readable, signal?: AbortSignal): Promise<void> {
    const { diskMib } = this.#options;
    const checked = guardTar(tar, { maxBytes: diskMib * 2 ** 20 }, signal);
    const argv = ["tar", "-x", "-p", "--no-same-owner", "--warning=no-timestamp", "-f", "-"];
    const stream = this.#start({ argv, rights: "user", input: true });
    const words = lastWords(stream);
    const stop = closeOn(signal, stream);
    try {
      await stream.started;
      for await (const data of checked) await stream.write(data);
      stream.end();
      const { status } = await stream.exit;
      if (status !== 0) throw this.#unpackFailed(status, await words);
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
    if (signal?.aborted) throw cancelled();
    const [command = ""] = spec.argv;
    const { input = new Uint8Array() } = spec;
    const before = await this.#counts();
    const stream = this.#start({
      argv: spec.argv,
      env: { ...sandboxVariables, ...spec.env },
      cwd: spec.cwd ?? workFolder,
      rights: "job",
      input: input.length > 0,
    });
    const stop = closeOn(signal, stream);
    try {
      await stream.started;
      if (input.length > 0) void feed(stream, input);
      return new ResidentProcess({ stream, before, counts: () => this.#counts() });
    } catch (error: unknown) {
      if (signal?.aborted) throw cancelled(error);
      throw error instanceof StartRefusal ? this.#refusalOf(error, command, spec.cwd) : error;
    } finally {
      stop();
    }
  }

  async get(signal?: AbortSignal): Promise<Readable> {
    // As root where that can be, since the job may have left folders that its own user cannot read.
    const argv = ["tar", "-c", "--numeric-owner", "-f", "-", "."];
    const stream = this.#start({ argv, rights: "root", input: false });
    const stop = closeOn(signal, stream);
    try {
      await stream.started;
      return Readable.from(this.#packed(stream, stop, signal), { objectMode: false });
    } catch (error: unknown) {
      stop();
      throw signal?.aborted ? cancelled(error) : error;
    }
  }

  async endPrograms(): Promise<void> {
    this.#check();
    try {
      const ended = this.#cage.channel.configure([["end-programs"]]);
      try {
        await within(residentTurnMs, ended);
      } catch {
        await this.#cage.endPrograms?.();
        await within(programsEndWithinMs, ended);
      }
    } catch (error: unknown) {
      throw this.#failed(`the programs of ${this.id} could not be ended`, error);
    }
  }

  delete(): Promise<void> {
    this.#isDeleted = true;
    this.#deletion ??= this.#delete().catch((error: unknown) => {
      // Still in the driver's list: it can be tried again.
      this.#deletion = undefined;
      if (error instanceof DevmeshError && error.reason !== "SANDBOX_FAILED") throw error;
      throw this.#failed(`${this.id} could not be removed`, error);
    });
    return this.#deletion;
  }

  get receipt(): SandboxReceipt {
    return this.#cage.receipt;
  }

  async stats(): Promise<SandboxStats> {
    this.#check();
    return this.#cage.stats();
  }

  async freeze(): Promise<void> {
    this.#check();
    await this.#cage.freeze();
  }

  async resume(): Promise<void> {
    this.#check();
    await this.#cage.resume();
  }

  async #delete(): Promise<void> {
    this.#cage.channel.close();
    await this.#cage.remove();
    this.#options.onDeleted();
  }

  #check(): void {
    if (this.#isDeleted) throw this.#failed(`${this.id} is deleted`);
  }

  async #counts(): Promise<CapCounts> {
    return (await this.#cage.counts?.()) ?? { oomKills: 0, pidsRefused: 0 };
  }

  #start(program: Partial<ResidentProgram> & Pick<ResidentProgram, "argv" | "rights" | "input">) {
    return this.#cage.channel.start({ env: sandboxVariables, cwd: workFolder, ...program });
  }

  /** The archive that tar writes; ends with an error where tar failed. */
  async *#packed(stream: ResidentStream, stop: () => void, signal?: AbortSignal) {
    let words = "";
    try {
      for await (const { stream: source, data } of stream.chunks()) {
        if (source === "stdout") yield data;
        else words = (words + data.toString("utf8")).slice(-wordsBytes);
      }
      const { status } = await stream.exit;
      // 1: files changed while they were read. The archive is whole all the same.
      if (status > 1) throw this.#failed(`the work dir cannot be packed: ${words}`);
    } catch (error: unknown) {
      throw signal?.aborted ? cancelled(error) : error;
    } finally {
      stop();
      stream.close();
    }
  }

  #refusalOf(error: StartRefusal, command: string, cwd = workFolder): DevmeshError {
    if (error.stage === "exec") return commandNotFound(command, error.message);
    if (error.stage === "cwd") return commandNotFound(command, `${cwd}: ${error.message}`);
    return this.#failed(`${command} cannot be started: ${error.message}`, error);
  }

  /** tar's own failures are the archive's fault; the end of tar by a signal is not. */
  #unpackFailed(status: number, words: string): DevmeshError {
    if (status > 2) return this.#failed(`unpacking was ended (exit code ${status})`);
    const message = words.includes("No space left on device")
      ? `the archive does not fit on the sandbox's disk (${this.#options.diskMib} MiB): too many bytes or files`
      : `the archive cannot be unpacked: ${words}`;
    return new DevmeshError("WORKSPACE_INVALID", message, { metadata: { path: "" } });
  }

  #failed(message: string, cause?: unknown): DevmeshError {
    return sandboxFailed(this.driver, message, cause);
  }
}

/** What a program is given to read. One that does not want it ends all the same. */
async function feed(stream: ResidentStream, input: Uint8Array): Promise<void> {
  try {
    await stream.write(Buffer.from(input));
    stream.end();
  } catch {
    // The program or the sandbox is gone, which the program's exit tells.
  }
}

/** Reads a stream to its end and answers the last part of it. */
async function lastWords(stream: ResidentStream): Promise<string> {
  let words = "";
  try {
    for await (const { data } of stream.chunks()) {
      words = (words + data.toString("utf8")).slice(-wordsBytes);
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

function cancelled(cause?: unknown): DevmeshError {
  return new DevmeshError("CANCELLED", "the call was cancelled", { cause });
}
