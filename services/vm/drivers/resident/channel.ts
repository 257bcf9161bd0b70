/**
 * Owns the connection to one sandbox's resident: its settings, and the streams on it.
 * What the resident runs in is left to the drivers.
 */
import type { Duplex } from "node:stream";
import type { DevmeshError } from "@devmesh/mesh/errors";
import type { SandboxDoor } from "../driver.ts";
import { sandboxFailed } from "../driver-errors.ts";
import { DoorBridge } from "./door-bridge.ts";
import {
  decodeList,
  encodeFrame,
  encodeList,
  type Frame,
  FrameReader,
  firstResidentStream,
  frameType,
} from "./frames.ts";
import { ResidentStream } from "./stream.ts";

/** A read-only image that a guest mounts. */
export interface GuestMount {
  /** The serial of its disk. */
  readonly serial: string;
  readonly sandboxPath: string;
  /** What the image holds: a folder, or one file named `file`. */
  readonly kind: "folder" | "file";
}

/** A setting of a resident: a word and its values, as the `config` frame lists them. */
export type ResidentSetting = readonly [word: string, ...values: (string | number)[]];

/** A program for a resident. */
export interface ResidentProgram {
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  /**
   * In a guest: the job's user within its limits, that user outside of them, or root. In a
   * cage everything runs as the one user within the limits.
   */
  readonly rights: "job" | "user" | "root";
  /** True if `write` is going to be used; otherwise it reads from `/dev/null`. */
  readonly input: boolean;
}

/** What a channel works with. */
export interface ChannelOptions {
  readonly connection: Duplex;
  /** Named in errors. */
  readonly driver: string;
  /** Called once when the resident breaks the protocol. */
  readonly onBroken: (cause: Error) => void;
  /**
   * Which cap has ended the whole sandbox, as `metFlag`, or 0; asked when the connection is
   * lost. Absent: caps cannot end more than single programs.
   */
  readonly endedByCap?: () => Promise<number>;
}

/** What a resident read; `undefined` where there is nothing to read. */
export type ResidentText = string | undefined;

const programFlags = { job: "jl", user: "j", root: "" };
const errnoNoEntry = 2;

/** The connection to one resident. */
export class ResidentChannel {
  /** Resolves when the resident takes frames; rejects when it is lost before. */
  readonly hello: Promise<void>;

  readonly #hello = Promise.withResolvers<void>();
  readonly #options: ChannelOptions;
  readonly #reader = new FrameReader();
  readonly #streams = new Map<number, ResidentStream>();
  readonly #doors = new Map<string, DoorBridge>();
  readonly #settings: PromiseWithResolvers<void>[] = [];
  readonly #reads = new Map<number, PromiseWithResolvers<ResidentText>>();
  #nextStream = 1;
  #greeted = false;
  #closed: DevmeshError | undefined;

  constructor(options: ChannelOptions) {
    this.#options = options;
    this.hello = this.#hello.promise;
    this.hello.catch(() => {});
    const { connection } = options;
    connection.on("data", (bytes: Buffer) => this.#receive(bytes));
    connection.on("error", (error) => this.#lose(error));
    connection.on("close", () => this.#lose());
    connection.on("end", () => this.#lose());
  }

  /** True until it is closed or lost. */
  get isOpen(): boolean {
    return this.#closed === undefined;
  }

  /** Resolves when all of the settings hold. Throws SANDBOX_FAILED with the one that does not. */
  async configure(settings: readonly ResidentSetting[]): Promise<void> {
    if (this.#closed) throw this.#closed;
    const answer = Promise.withResolvers<void>();
    this.#settings.push(answer);
    this.#send(frameType.config, 0, encodeList(settings.flat()));
    await answer.promise;
  }

  /** Opens ways out, each to its socket of the host. Throws SANDBOX_FAILED when one cannot be. */
  async openDoors(doors: readonly SandboxDoor[]): Promise<void> {
    if (doors.length === 0) return;
    for (const { name, socketPath } of doors) this.#doors.set(name, new DoorBridge(socketPath));
    await this.configure(doors.map(({ name, port = 0 }) => ["door", name, port]));
  }

  /**
   * What the sandbox's kernel says at a path: a file's content (32 KiB at most), a link's
   * target, a folder's names one a line; with `statfs:` before it block size, blocks, free
   * blocks, nodes and free nodes. `undefined`: it is not there. The sandbox is not trusted:
   * only what nothing but its resident could have changed is worth reading.
   */
  read(path: string): Promise<ResidentText> {
    if (this.#closed) return Promise.reject(this.#closed);
    const id = this.#nextStream++;
    const answer = Promise.withResolvers<ResidentText>();
    this.#reads.set(id, answer);
    this.#send(frameType.read, id, Buffer.from(path));
    return answer.promise;
  }

  /** Starts a program; what became of it is told by the stream. */
  start(program: ResidentProgram): ResidentStream {
    const flags = programFlags[program.rights] + (program.input ? "i" : "");
    const list = [flags, program.cwd, program.argv.length, ...program.argv];
    const env = Object.entries(program.env).flat();
    const id = this.#nextStream++;
    const stream = this.#add(id);
    this.#send(frameType.open, id, encodeList([...list, ...env]));
    return stream;
  }

  /** Ends every stream with `error`. The connection takes nothing any more. */
  fail(error: DevmeshError): void {
    if (this.#closed) return;
    this.#end(error);
    for (const stream of [...this.#streams.values()]) stream.fail(error);
    this.#options.connection.destroy();
  }

  /** Ends every stream as if its program had been killed: the sandbox is removed on purpose. */
  close(): void {
    if (this.#closed) return;
    this.#end(sandboxFailed(this.#options.driver, "the sandbox was deleted"));
    for (const stream of [...this.#streams.values()]) stream.killed();
    this.#options.connection.destroy();
  }

  /** The connection is gone; what it was to the programs depends on why. */
  #lose(cause?: Error): void {
    if (this.#closed) return;
    const error = this.#lost(cause);
    const { endedByCap } = this.#options;
    if (!endedByCap) {
      this.fail(error);
      return;
    }
    this.#end(error);
    this.#options.connection.destroy();
    const settle = (met: number) => {
      for (const stream of [...this.#streams.values()]) {
        if (met !== 0) stream.killed(met);
        else stream.fail(error);
      }
    };
    endedByCap().then(settle, () => settle(0));
  }

  #end(error: DevmeshError): void {
    this.#closed = error;
    this.#hello.reject(error);
    for (const { reject } of this.#settings.splice(0)) reject(error);
    for (const { reject } of this.#reads.values()) reject(error);
    this.#reads.clear();
  }

  #add(id: number): ResidentStream {
    const stream = new ResidentStream(
      this.#options.driver,
      (type, payload) => this.#send(type, id, payload),
      () => this.#streams.delete(id),
    );
    if (this.#closed) stream.fail(this.#closed);
    else this.#streams.set(id, stream);
    return stream;
  }

  #send(type: (typeof frameType)[keyof typeof frameType], id: number, payload?: Buffer): void {
    if (!this.#closed) this.#options.connection.write(encodeFrame(type, id, payload));
  }

  #receive(bytes: Buffer): void {
    if (this.#closed) return;
    try {
      for (const frame of this.#reader.push(bytes)) this.#dispatch(frame);
    } catch (error: unknown) {
      const cause = error instanceof Error ? error : new Error(String(error));
      this.fail(this.#lost(cause));
      this.#options.onBroken(cause);
    }
  }

  #dispatch(frame: Frame): void {
    if (frame.stream === 0) this.#dispatchResident(frame);
    else if (frame.type === frameType.open) this.#accept(frame);
    else if (frame.type === frameType.read) this.#answer(frame);
    // A stream that is not known has ended here while the frame was under way.
    else this.#streams.get(frame.stream)?.receive(frame);
  }

  #dispatchResident({ type, payload }: Frame): void {
    if (type === frameType.hello && !this.#greeted) {
      this.#greeted = true;
      this.#hello.resolve();
      return;
    }
    const waiting = this.#settings.shift();
    if (waiting && type === frameType.ready) waiting.resolve();
    else if (waiting && type === frameType.failed) {
      const [, , text = ""] = decodeList(payload);
      const { driver } = this.#options;
      waiting.reject(sandboxFailed(driver, `the sandbox cannot be set up: ${text.trim()}`));
    } else {
      const error = new Error(`the resident sent a frame of type ${type} that nobody asked for`);
      waiting?.reject(error);
      throw error;
    }
  }

  #answer({ stream, payload }: Frame): void {
    const waiting = this.#reads.get(stream);
    if (!waiting) throw new Error("the resident answered what nobody asked");
    this.#reads.delete(stream);
    const errno = payload.readUInt32BE(0);
    if (errno === 0) waiting.resolve(payload.toString("utf8", 4));
    else if (errno === errnoNoEntry) waiting.resolve(undefined);
    else waiting.reject(sandboxFailed(this.#options.driver, `reading gave error ${errno}`));
  }

  #accept({ stream: id, payload }: Frame): void {
    const door = this.#doors.get(payload.toString("utf8"));
    if (!door || id < firstResidentStream || this.#streams.has(id)) {
      throw new Error("the resident opened a stream that it may not open");
    }
    door.carry(this.#add(id));
  }

  #lost(cause?: Error): DevmeshError {
    return sandboxFailed(this.#options.driver, "the sandbox is gone", cause);
  }
}
