/**
 * Cuts documents into chunks. Code is parsed on a thread that starts with the
 * first piece of code; if it fails, code is cut by its indentation.
 */
import { Worker } from "node:worker_threads";
import type { Logger } from "@devmesh/mesh/log";
import { type Chunk, type Piece, toChunks } from "./chunk.ts";
import type { ChunkAnswer, ChunkQuestion } from "./chunk-worker.ts";
import { cut } from "./cut.ts";
import { indentationSections } from "./indentation.ts";
import { cuttingOf } from "./languages.ts";
import { markdownSections } from "./markdown.ts";

/** What is cut. */
export interface ChunkableDocument {
  readonly collection: string;
  readonly source: string;
  readonly text: string;
}

/** What a chunker is made from. */
export interface ChunkerOptions {
  readonly logger: Logger;
}

interface Waiting {
  resolve(pieces: Piece[]): void;
  reject(error: Error): void;
}

/** Owns the parsing thread. */
export class Chunker {
  readonly #logger: Logger;
  readonly #waiting = new Map<number, Waiting>();
  #worker: Worker | undefined;
  #questions = 0;

  constructor({ logger }: ChunkerOptions) {
    this.#logger = logger;
  }

  /** The document's chunks, in order. Never fails for a text; a text of white space has none. */
  async chunk(document: ChunkableDocument): Promise<Chunk[]> {
    return toChunks(document, await this.#pieces(document));
  }

  /** Ends the thread; documents that are being parsed are cut by their indentation. */
  async close(): Promise<void> {
    await this.#worker?.terminate();
  }

  async #pieces({ source, collection, text }: ChunkableDocument): Promise<Piece[]> {
    const cutting = cuttingOf(source, collection, text.length);
    switch (cutting.by) {
      case "headings":
        return cut(text, markdownSections(text));
      case "indentation":
        return cut(text, indentationSections(text));
      case "lines":
        return cut(text, []);
      case "syntax":
        try {
          return await this.#parse(cutting.grammar, text);
        } catch (error: unknown) {
          this.#logger.warn({ err: error, source }, "cannot parse; cutting by indentation");
          return cut(text, indentationSections(text));
        }
      default:
        return cutting satisfies never;
    }
  }

  #parse(grammar: string, text: string): Promise<Piece[]> {
    this.#questions += 1;
    const question: ChunkQuestion = { id: this.#questions, grammar, text };
    const { promise, resolve, reject } = Promise.withResolvers<Piece[]>();
    this.#waiting.set(question.id, { resolve, reject });
    const thread = this.#thread();
    thread.ref();
    thread.postMessage(question);
    return promise;
  }

  #thread(): Worker {
    if (this.#worker !== undefined) return this.#worker;
    const worker = new Worker(new URL("./chunk-worker.ts", import.meta.url));
    worker.on("message", (answer: ChunkAnswer) => {
      const waiting = this.#waiting.get(answer.id);
      this.#waiting.delete(answer.id);
      if (this.#waiting.size === 0) worker.unref();
      if ("pieces" in answer) waiting?.resolve(answer.pieces);
      else waiting?.reject(new Error(answer.failure));
    });
    worker.on("error", (error) => this.#logger.error({ err: error }, "the parsing thread failed"));
    worker.on("exit", () => {
      this.#worker = undefined;
      for (const { reject } of this.#waiting.values()) reject(new Error("the thread ended"));
      this.#waiting.clear();
    });
    this.#worker = worker;
    return worker;
  }
}
