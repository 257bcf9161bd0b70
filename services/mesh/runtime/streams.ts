/**
 * Wraps streams of messages without generators: each generator around a stream
 * would cost several turns of the event loop for each message.
 */

/** Converts each message. An error that `convert` throws ends the stream. */
export function mapStream<T, U>(
  messages: AsyncIterable<T>,
  convert: (message: T) => U,
): AsyncIterable<U> {
  return {
    [Symbol.asyncIterator]() {
      const source = messages[Symbol.asyncIterator]();
      const stop = async (error: unknown): Promise<never> => {
        await source.return?.();
        throw error;
      };
      const pass = (result: IteratorResult<T>): IteratorResult<U> | Promise<never> => {
        if (result.done === true) return result;
        try {
          return { done: false, value: convert(result.value) };
        } catch (error) {
          return stop(error);
        }
      };
      return {
        next: () => source.next().then(pass),
        throw: stop,
        return: async () => {
          await source.return?.();
          return { done: true, value: undefined };
        },
      };
    },
  };
}

/** How a stream is watched. */
export interface StreamTap {
  /** Runs each step of the producer, for example within a context. */
  around?<R>(step: () => R): R;
  /**
   * Called once: at the end, with the error, or with `left` when the consumer
   * stopped reading. What it throws, the consumer gets.
   */
  end(how: "done" | "left" | "failed", error?: unknown): Promise<void> | void;
}

/** Passes every message on and tells the tap how the stream ended. */
export function tapStream<T>(messages: AsyncIterable<T>, tap: StreamTap): AsyncIterable<T> {
  const around = <R>(step: () => R): R => (tap.around ? tap.around(step) : step());
  return {
    [Symbol.asyncIterator]() {
      const source = around(() => messages[Symbol.asyncIterator]());
      let over = false;
      const onResult = (result: IteratorResult<T>) => {
        if (result.done !== true || over) return result;
        over = true;
        const ended = tap.end("done");
        return ended instanceof Promise ? ended.then(() => result) : result;
      };
      const onError = async (error: unknown): Promise<never> => {
        if (!over) {
          over = true;
          await tap.end("failed", error);
        }
        throw error;
      };
      const leave = async (): Promise<IteratorResult<T>> => {
        if (!over) {
          over = true;
          try {
            await around(() => source.return?.());
          } catch (error) {
            // The producer failed while it cleaned up: that is how the stream ended.
            await tap.end("failed", error);
            throw error;
          }
          await tap.end("left");
        }
        return { done: true, value: undefined };
      };
      return {
        next: () => around(() => source.next()).then(onResult, onError),
        return: leave,
        // A consumer that failed: the producer is closed, the error stays the consumer's.
        throw: async (error: unknown) => {
          await leave();
          throw error;
        },
      };
    },
  };
}
