/** Owns the two outputs: data on stdout, talk on stderr; waits where the reader is slow. */
import { once } from "node:events";
import type { Writable } from "node:stream";
import type { JsonValue } from "@bufbuild/protobuf";

/** A stream of a process. */
export type OutputStream = Writable & { readonly isTTY?: boolean };

/** Where a command writes. */
export class Output {
  /** True if stdout carries JSON. */
  readonly json: boolean;
  readonly #quiet: boolean;
  readonly #stdout: OutputStream;
  readonly #stderr: OutputStream;

  /** Made by `main`. */
  constructor(options: {
    readonly json: boolean;
    readonly quiet: boolean;
    readonly stdout: OutputStream;
    readonly stderr: OutputStream;
  }) {
    this.json = options.json;
    this.#quiet = options.quiet;
    this.#stdout = options.stdout;
    this.#stderr = options.stderr;
  }

  /** True if the talk is read by a person. */
  get isInteractive(): boolean {
    return this.#stderr.isTTY === true && !this.#quiet;
  }

  /** The stream of the talk, for its colours. */
  get talkStream(): OutputStream {
    return this.#stderr;
  }

  /** Data as it is. */
  data(data: string | Uint8Array): Promise<void> {
    return write(this.#stdout, data);
  }

  /** Another program's standard error, as it is. */
  errorData(data: Uint8Array): Promise<void> {
    return write(this.#stderr, data);
  }

  /** One JSON document on one line: the whole answer, or a piece of a stream. */
  document(value: JsonValue): Promise<void> {
    return this.data(`${JSON.stringify(value)}\n`);
  }

  /** A line for people. */
  async talk(line: string): Promise<void> {
    if (!this.#quiet) await this.raw(`${line}\n`);
  }

  /** Text for people as it is, for errors and a progress bar. */
  async raw(text: string): Promise<void> {
    try {
      await write(this.#stderr, text);
    } catch (error) {
      // Talk that nobody hears any more changes nothing.
      if (!(error instanceof ReaderGoneError)) throw error;
    }
  }
}

/** The reader of an output has gone, as in `| head`; the command ends without a word. */
export class ReaderGoneError extends Error {
  override readonly name = "ReaderGoneError";
}

async function write(stream: OutputStream, data: string | Uint8Array): Promise<void> {
  if (data.length === 0) return;
  if (stream.destroyed || stream.errored) throw new ReaderGoneError();
  if (stream.write(data)) return;
  try {
    await once(stream, "drain");
  } catch (error) {
    throw new ReaderGoneError("the output cannot be written to", { cause: error });
  }
}
