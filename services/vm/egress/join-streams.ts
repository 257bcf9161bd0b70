/** Two streams that carry one connection. */
import type { Duplex } from "node:stream";

/** Joins them: the end and the error of each is the other's. */
export function joinStreams(one: Duplex, other: Duplex): void {
  for (const [from, to] of [
    [one, other],
    [other, one],
  ] as const) {
    from.once("error", () => to.destroy());
    from.once("close", () => {
      // What is on its way still gets there.
      if (!to.writableEnded) to.end();
      if (from.errored !== null || !from.readableEnded) to.destroy();
    });
    from.pipe(to);
  }
}
