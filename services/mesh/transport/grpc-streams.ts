/** The streams of grpc-js as iterators of messages, on the client's and the server's side. */
import type { Readable, Writable } from "node:stream";

/** What reading depends on the side for. */
export interface ReadOptions {
  /** The error to throw for one of the stream's. */
  errorOf(error: unknown): unknown;
  /** The reader stops before the end. */
  leave(): void;
  /** Called at the end; throws if the stream was cut and only looks ended. */
  checkEnd?(): Promise<void>;
}

/** Messages that came are handed out before the error that came after them. */
export function readMessages<T>(stream: Readable, options: ReadOptions): AsyncIterable<T> {
  let ended = false;
  let failed: { readonly error: unknown } | undefined;
  let wake: (() => void) | undefined;
  const notify = () => wake?.();
  stream.on("readable", notify);
  stream.on("error", (error) => {
    failed ??= { error };
    notify();
  });
  stream.once("end", () => {
    ended = true;
    notify();
  });
  stream.once("close", () => {
    // Half a stream must not be taken for a whole one.
    if (!ended) failed ??= { error: new Error("the stream was cut") };
    notify();
  });
  const next = async (): Promise<IteratorResult<T>> => {
    for (;;) {
      const message: T | null = stream.read();
      if (message !== null) return { done: false, value: message };
      if (failed !== undefined) throw options.errorOf(failed.error);
      if (ended) {
        await options.checkEnd?.();
        return { done: true, value: undefined };
      }
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  };
  const leave = async (): Promise<IteratorResult<T>> => {
    if (!ended && failed === undefined) options.leave();
    return { done: true, value: undefined };
  };
  return { [Symbol.asyncIterator]: () => ({ next, return: leave }) };
}

/** Waits until there is room again, or the stream is over: `over` or `close` tells. */
export function drained(stream: Writable, over: string): Promise<void> {
  return new Promise((resolve) => {
    const events = ["drain", "close", over];
    const done = () => {
      for (const event of events) stream.removeListener(event, done);
      resolve();
    };
    for (const event of events) stream.on(event, done);
    if (stream.destroyed || stream.writableFinished) done();
  });
}
