/** Owns how a noun calls its service: time limit, headers, error mapping. */
import type { CallOptions as ConnectCallOptions } from "@connectrpc/connect";
import { Code, DevmeshApiError, fromConnect } from "./errors.ts";
import type { CallOptions } from "./options.ts";

/** Runs the calls of all nouns under the client's defaults. */
export class Caller {
  readonly #timeoutMs: number;

  /** `timeoutMs` is the total time of a unary call that names none. */
  constructor(options: { readonly timeoutMs: number }) {
    this.#timeoutMs = options.timeoutMs;
  }

  /** A unary call; `timeoutMs` is the method's own default. */
  async unary<T>(
    run: (options: ConnectCallOptions) => Promise<T>,
    options: CallOptions = {},
    timeoutMs = this.#timeoutMs,
  ): Promise<T> {
    try {
      return await run(connectOptions({ ...options, timeoutMs: options.timeoutMs ?? timeoutMs }));
    } catch (error) {
      throw fromConnect(error);
    }
  }

  /** A server stream; no time limit unless the call names one. */
  async *stream<T>(
    run: (options: ConnectCallOptions) => AsyncIterable<T>,
    options: CallOptions = {},
  ): AsyncGenerator<T, void, undefined> {
    // Connect's iterables have no `return`: leaving the loop early must abort the call.
    const left = new AbortController();
    const signal =
      options.signal === undefined ? left.signal : AbortSignal.any([options.signal, left.signal]);
    try {
      yield* run(connectOptions({ ...options, signal }));
    } catch (error) {
      throw fromConnect(error);
    } finally {
      left.abort();
    }
  }
}

function connectOptions(options: CallOptions): ConnectCallOptions {
  const { signal, timeoutMs, headers } = options;
  return {
    ...(signal && { signal }),
    ...(timeoutMs !== undefined && { timeoutMs }),
    ...(headers && { headers }),
  };
}

/** The part of an answer that the contract promises; its absence is the server's defect. */
export function present<T>(value: T | undefined, field: string): T {
  if (value !== undefined) return value;
  throw new DevmeshApiError(`the server's answer has no ${field}`, {
    reason: "INTERNAL",
    code: Code.Internal,
  });
}
