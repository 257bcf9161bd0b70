/** Ends a stream of messages by a signal, whatever its producer does. */

/**
 * Passes messages on until the signal aborts: then the reader gets its reason,
 * at once, and the producer is closed as soon as it lets go.
 */
export function untilAborted<T>(messages: AsyncIterable<T>, signal: AbortSignal): AsyncIterable<T> {
  return {
    [Symbol.asyncIterator]() {
      const source = messages[Symbol.asyncIterator]();
      let interrupt: ((reason: unknown) => void) | undefined;
      // Not asked of the signal each time: one of many parts looks at all of them.
      let isAborted = signal.aborted;
      const onAbort = () => {
        isAborted = true;
        interrupt?.(signal.reason);
        // Runs the producer's `finally`; its error has no reader any more.
        source.return?.().catch(() => {});
      };
      const over = () => signal.removeEventListener("abort", onAbort);
      signal.addEventListener("abort", onAbort, { once: true });
      return {
        next: () =>
          new Promise((resolve, reject) => {
            if (isAborted) {
              onAbort();
              return reject(signal.reason);
            }
            interrupt = reject;
            source.next().then(
              (result) => {
                if (result.done === true) over();
                resolve(result);
              },
              (error: unknown) => {
                over();
                reject(error);
              },
            );
          }),
        return: async () => {
          over();
          // A producer that was told to end is not waited for: it may hang in what it does.
          if (isAborted) onAbort();
          else await source.return?.();
          return { done: true, value: undefined };
        },
      };
    },
  };
}
