/**
 * Owns the connection to one guest's agent: its configuration, and the streams on it.
 * The virtual machine behind the connection is left to `vm-process.ts`.
 */
import type { Duplex } from "node:stream";
import type { DevmeshError } from "@devmesh/mesh/errors";
import { sandboxFailed } from "../driver-errors.ts";
import type { DoorBridge } from "./door-bridge.ts";
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

/** A read-only image that the guest mounts. */
export interface GuestMount {
  /** The serial of its disk. */
  readonly serial: string;
  readonly sandboxPath: string;
  /** What the image holds: a folder, or one file named `file`. */
  readonly kind: "folder" | "file";
}

/** What a guest is set up with before it takes programs. */
export interface GuestConfig {
  readonly memoryBytes: number;
  readonly pids: number;
  readonly cpuMillis: number;
  readonly mounts: readonly GuestMount[];
}

/** A program for the guest. */
export interface ResidentProgram {
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  /** `job`: the job's user within its limits; `user`: that user outside of them; or root. */
  readonly rights: "job" | "user" | "root";
  /** True if `write` is going to be used; otherwise it reads from `/dev/null`. */
  readonly input: boolean;
}

/** What a channel works with. */
export interface ChannelOptions {
  readonly connection: Duplex;
  readonly config: GuestConfig;
  /** Where connections of the guest go. Absent: it gets no way out. */
  readonly backend?: DoorBridge | undefined;
  /** Called once when the guest breaks the protocol. */
  readonly onBroken: (cause: Error) => void;
}

const FLAGS = { job: "jl", user: "j", root: "" };

/** The connection to one guest's agent. */
export class ResidentChannel {
  /** Resolves when the guest is set up; rejects when it cannot be or is lost before. */
  readonly ready: Promise<void>;

  readonly #ready = Promise.withResolvers<void>();
  readonly #options: ChannelOptions;
  readonly #reader = new FrameReader();
  readonly #streams = new Map<number, ResidentStream>();
  #nextStream = 1;
  #configured = false;
  #closed: Error | undefined;

  constructor(options: ChannelOptions) {
    this.#options = options;
    this.ready = this.#ready.promise;
    this.ready.catch(() => {});
    const { connection } = options;
    connection.on("data", (bytes: Buffer) => this.#receive(bytes));
    connection.on("error", (error) => this.fail(lost(error)));
    connection.on("close", () => this.fail(lost()));
    connection.on("end", () => this.fail(lost()));
  }

  /** Starts a program; what became of it is told by the stream. */
  start(program: ResidentProgram): ResidentStream {
    const flags = FLAGS[program.rights] + (program.input ? "i" : "");
    const list = [flags, program.cwd, program.argv.length, ...program.argv];
    const env = Object.entries(program.env).flat();
    const id = this.#nextStream++;
    const stream = this.#add(id);
    this.#send(frameType.open, id, encodeList([...list, ...env]));
    return stream;
  }

  /** Ends every stream with `error`. The connection takes nothing any more. */
  fail(error: Error): void {
    if (this.#closed) return;
    this.#closed = error;
    this.#ready.reject(error);
    for (const stream of [...this.#streams.values()]) stream.fail(error);
    this.#options.connection.destroy();
  }

  /** Ends every stream as if its program had been killed: the guest is removed on purpose. */
  close(): void {
    if (this.#closed) return;
    this.#closed = sandboxFailed("qemu", "the sandbox was deleted");
    this.#ready.reject(this.#closed);
    for (const stream of [...this.#streams.values()]) stream.killed();
    this.#options.connection.destroy();
  }

  #add(id: number): ResidentStream {
    const stream = new ResidentStream(
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
      this.fail(lost(cause));
      this.#options.onBroken(cause);
    }
  }

  #dispatch(frame: Frame): void {
    if (frame.stream === 0) this.#dispatchGuest(frame);
    else if (frame.type === frameType.open) this.#accept(frame.stream);
    // A stream that is not known has ended here while the frame was under way.
    else this.#streams.get(frame.stream)?.receive(frame);
  }

  #dispatchGuest({ type, payload }: Frame): void {
    if (type === frameType.hello) this.#configure();
    else if (type === frameType.ready) this.#ready.resolve();
    else if (type === frameType.failed) {
      const [, , text = ""] = decodeList(payload);
      this.fail(sandboxFailed("qemu", `the guest cannot be set up: ${text.trim()}`));
    } else throw new Error(`the guest sent a frame of type ${type}`);
  }

  #configure(): void {
    // Each answer waits in our memory until the guest reads it, so it gets one.
    if (this.#configured) throw new Error("the guest asked twice for its configuration");
    this.#configured = true;
    const { config, backend } = this.#options;
    const now = Date.now();
    const list = [
      Math.floor(now / 1000),
      (now % 1000) * 1_000_000,
      config.memoryBytes,
      config.pids,
      config.cpuMillis * 100,
      backend ? 1 : 0,
      ...config.mounts.flatMap(({ serial, sandboxPath, kind }) => [serial, sandboxPath, kind]),
    ];
    this.#send(frameType.config, 0, encodeList(list));
  }

  #accept(id: number): void {
    const { backend } = this.#options;
    if (!backend || id < firstResidentStream || this.#streams.has(id)) {
      throw new Error("the guest opened a stream that it may not open");
    }
    backend.carry(this.#add(id));
  }
}

function lost(cause?: Error): DevmeshError {
  return sandboxFailed("qemu", "the virtual machine is gone", cause);
}
