/**
 * Owns the host's end of one stream to a resident: a program with its output and input, or
 * a connection to a door. Both ways are held back by credit, so neither end stores
 * more than a window. Frames travel through `channel.ts`.
 */
import { DevmeshError } from "@devmesh/mesh/errors";
import type { OutputChunk } from "../driver.ts";
import { sandboxFailed } from "../driver-errors.ts";
import { chunkBytes, decodeList, encodeU32, type Frame, frameType, windowBytes } from "./frames.ts";

/** How a program ended. */
export interface ResidentExit {
  /** 128 + n where signal n ended it. */
  readonly status: number;
  /** Caps that its kernel says were met: bits of `metFlag`. */
  readonly met: number;
}

/** Why a program did not start. */
export class StartRefusal extends Error {
  override readonly name = "StartRefusal";
  /** `start`, `cwd` or `exec`. */
  readonly stage: string;
  /** Linux' number of the error. */
  readonly errno: number;

  constructor(stage: string, errno: number, text: string) {
    super(text);
    this.stage = stage;
    this.errno = errno;
  }
}

type Send = (type: (typeof frameType)[keyof typeof frameType], payload?: Buffer) => void;

/** One stream. Made by the channel only. */
export class ResidentStream {
  /** Resolves when the program runs; rejects with `StartRefusal` when it cannot. */
  readonly started: Promise<void>;
  /** Resolves when the program has ended; rejects when the sandbox is lost. */
  readonly exit: Promise<ResidentExit>;

  readonly #started = Promise.withResolvers<void>();
  readonly #exit = Promise.withResolvers<ResidentExit>();
  readonly #driver: string;
  readonly #send: Send;
  readonly #onDone: () => void;
  #queue: OutputChunk[] = [];
  #queuedBytes = 0;
  #uncredited = 0;
  #eof = false;
  #exited = false;
  #sentEof = false;
  #error: Error | undefined;
  #sendCredit = windowBytes;
  #wakeReader: () => void = () => {};
  #wakeWriters: (() => void)[] = [];

  /** `driver` is named in errors. */
  constructor(driver: string, send: Send, onDone: () => void) {
    this.#driver = driver;
    this.#send = send;
    this.#onDone = onDone;
    this.started = this.#started.promise;
    this.exit = this.#exit.promise;
    // A caller that only wants one of the two must not bring the process down with the other.
    this.started.catch(() => {});
    this.exit.catch(() => {});
  }

  /** What the other end sends, up to its end. For one reader; what it takes gives credit. */
  async *chunks(): AsyncGenerator<OutputChunk> {
    for (;;) {
      const chunk = this.#queue.shift();
      if (chunk) {
        yield chunk;
        this.#queuedBytes -= chunk.data.length;
        this.#credit(chunk.data.length);
        continue;
      }
      if (this.#eof) return;
      if (this.#error) throw this.#error;
      await new Promise<void>((resolve) => {
        this.#wakeReader = resolve;
      });
    }
  }

  /** Sends data; resolves when all of it is on its way. Throws when the stream is gone. */
  async write(data: Buffer): Promise<void> {
    for (let at = 0; at < data.length; ) {
      while (this.#sendCredit === 0 && !this.#error && !(this.#eof && this.#exited)) {
        await new Promise<void>((resolve) => {
          this.#wakeWriters.push(resolve);
        });
      }
      if (this.#error) throw this.#error;
      if (this.#eof && this.#exited) return;
      const part = data.subarray(at, at + Math.min(chunkBytes, this.#sendCredit));
      this.#sendCredit -= part.length;
      at += part.length;
      this.#send(frameType.data, part);
    }
  }

  /** Says that no more data will be written. */
  end(): void {
    if (this.#error || this.#sentEof) return;
    this.#sentEof = true;
    this.#send(frameType.eof);
  }

  /** Sends a signal, by its number, to the program and all its children. */
  signal(number: number): void {
    if (!this.#error) this.#send(frameType.signal, Buffer.from([number]));
  }

  /** Gives the stream up; its program is killed. Nothing happens after the end. */
  close(reason: Error = new DevmeshError("CANCELLED", "the call was given up")): void {
    if (this.#error || (this.#eof && this.#exited)) return;
    this.#send(frameType.close);
    this.fail(reason);
  }

  /** Ends everything that waits on this stream with `error`. */
  fail(error: Error): void {
    if (this.#error) return;
    this.#error = error;
    this.#started.reject(error);
    this.#exit.reject(error);
    this.#wake();
    this.#onDone();
  }

  /**
   * Ends the program as if SIGKILL had: its sandbox is being removed on purpose, or was ended
   * by a cap, which `met` says.
   */
  killed(met = 0): void {
    this.#eof = true;
    this.#settleExit({ status: 137, met });
    this.#error ??= new DevmeshError("CANCELLED", "the sandbox was deleted");
    this.#started.reject(this.#error);
    this.#wake();
    this.#onDone();
  }

  /** Takes a frame of this stream. Throws when it breaks the protocol. */
  receive({ type, payload }: Frame): void {
    switch (type) {
      case frameType.started:
        this.#started.resolve();
        return;
      case frameType.failed: {
        const [stage = "", errno = "", text = ""] = decodeList(payload);
        this.fail(new StartRefusal(stage, Number(errno), text));
        return;
      }
      case frameType.data:
        this.#enqueue({ stream: "stdout", data: payload });
        return;
      case frameType.stderr:
        this.#enqueue({ stream: "stderr", data: payload });
        return;
      case frameType.eof:
        this.#eof = true;
        this.#wakeReader();
        this.#doneIfEnded();
        return;
      case frameType.credit:
        this.#sendCredit = Math.min(windowBytes, this.#sendCredit + payload.readUInt32BE(0));
        for (const wake of this.#wakeWriters.splice(0)) wake();
        return;
      case frameType.exit:
        this.#settleExit({
          status: payload.readUInt32BE(0),
          met: payload.readUInt8(4),
        });
        this.#doneIfEnded();
        return;
      case frameType.close:
        this.fail(sandboxFailed(this.#driver, "the sandbox closed the stream"));
        return;
      default:
        throw new Error(`the resident sent a frame of type ${type}`);
    }
  }

  #enqueue(chunk: OutputChunk): void {
    // What is left over from before a close is of no interest to anybody.
    if (this.#error) return;
    this.#queuedBytes += chunk.data.length;
    if (this.#queuedBytes > windowBytes) throw new Error("the resident sent more than its credit");
    this.#queue.push(chunk);
    this.#wakeReader();
  }

  /** In portions: a frame per chunk would cost the sandbox more than the chunk. */
  #credit(bytes: number): void {
    this.#uncredited += bytes;
    if (this.#uncredited < windowBytes / 4 || this.#eof || this.#error) return;
    this.#send(frameType.credit, encodeU32(this.#uncredited));
    this.#uncredited = 0;
  }

  #settleExit(exit: ResidentExit): void {
    this.#exited = true;
    this.#exit.resolve(exit);
  }

  #doneIfEnded(): void {
    if (!this.#eof || !this.#exited) return;
    // What is still to be written has no reader any more.
    for (const wake of this.#wakeWriters.splice(0)) wake();
    this.#onDone();
  }

  #wake(): void {
    this.#wakeReader();
    for (const wake of this.#wakeWriters.splice(0)) wake();
  }
}
