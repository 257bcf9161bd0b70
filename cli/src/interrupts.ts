/** Owns Ctrl-C and termination. */
import type { Interrupts } from "./command.ts";

/** Listens to the process's signals until it is closed. */
export function listenForInterrupts(): Interrupts & { close(): void } {
  const controller = new AbortController();
  let handler: ((count: number) => void) | undefined;
  let count = 0;
  const hear = () => {
    count++;
    if (handler === undefined) controller.abort(interruption());
    else handler(count);
  };
  process.on("SIGINT", hear);
  process.on("SIGTERM", hear);
  return {
    signal: controller.signal,
    takeOver: (next) => {
      handler = next;
    },
    close: () => {
      process.off("SIGINT", hear);
      process.off("SIGTERM", hear);
    },
  };
}

function interruption(): Error {
  return new DOMException("interrupted", "AbortError");
}
