/**
 * Turns a program's two byte streams into one sequence of chunks. Starting and
 * ending the program is left to the drivers.
 */
import type { Readable } from "node:stream";
import { DevmeshError } from "@devmesh/mesh/errors";
import type { OutputChunk } from "./driver.ts";

/**
 * The output of one program. Listens from its construction on, so that Node
 * does not throw unread output away when the program ends; reads ahead no
 * further than the streams' own buffers, which holds the program back.
 */
export class ProgramOutput {
  readonly #sources: readonly (readonly ["stdout" | "stderr", Readable])[];
  readonly #kept: OutputChunk[] = [];
  #keeping = false;
  #taken = false;
  #error: Error | undefined;
  #wake: () => void = () => {};

  constructor(stdout: Readable, stderr: Readable) {
    this.#sources = [
      ["stdout", stdout],
      ["stderr", stderr],
    ];
    const poke = () => {
      if (this.#keeping) this.keepRest();
      this.#wake();
    };
    for (const [, source] of this.#sources) {
      source.on("readable", poke).on("end", poke).on("close", poke);
      source.on("error", (error) => {
        this.#error ??= error;
        poke();
      });
    }
  }

  /** The chunks as they come; ends when both streams have. Can be called once. */
  read(): AsyncIterable<OutputChunk> {
    if (this.#taken) throw new DevmeshError("WRONG_STATE", "the output is being read already");
    this.#taken = true;
    return this.#chunks();
  }

  /**
   * Reads what is left into memory, so that the streams can close without a
   * reader. For programs that have ended: what is left of them is bounded.
   */
  keepRest(): void {
    this.#keeping = true;
    for (const [stream, source] of this.#sources) {
      for (let data = source.read(); data !== null; data = source.read()) {
        this.#kept.push({ stream, data });
      }
    }
  }

  /**
   * What stderr says until its end, still there for the reader. For programs
   * that have ended, before anybody reads.
   */
  async errorText(): Promise<string> {
    this.keepRest();
    while (!this.#hasEnded()) await this.#next();
    const errors = this.#kept.filter(({ stream }) => stream === "stderr");
    return Buffer.concat(errors.map(({ data }) => data)).toString("latin1");
  }

  #hasEnded(): boolean {
    return this.#sources.every(([, source]) => source.readableEnded || source.destroyed);
  }

  #next(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }

  async *#chunks(): AsyncGenerator<OutputChunk> {
    for (;;) {
      // Armed before looking, so that what comes in between is not missed.
      const next = this.#next();
      let got = this.#kept.length > 0;
      yield* this.#kept.splice(0);
      for (const [stream, source] of this.#sources) {
        const data: Buffer | null = source.read();
        if (data === null) continue;
        got = true;
        yield { stream, data };
      }
      if (got) continue;
      if (this.#error !== undefined) {
        throw new DevmeshError("SANDBOX_FAILED", "the program's output broke off", {
          cause: this.#error,
        });
      }
      if (this.#hasEnded()) return;
      await next;
    }
  }
}
