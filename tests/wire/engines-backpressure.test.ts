import { once } from "node:events";
import { expect } from "chai";
import { authorization, type Bed, clientsOf, engines, startBed, waysIn } from "./engines-bed.ts";

/** What may lie between a producer and a reader that stopped: messages of 64 KiB. */
const bound = 600;

/** Resolves once the producer has made nothing more for a while of turns. */
async function untilStuck(bed: Bed): Promise<number> {
  for (let last = -1, quiet = 0; quiet < 300; ) {
    await new Promise((resolve) => setTimeout(resolve, 1));
    quiet = bed.fakes.made === last ? quiet + 1 : 0;
    last = bed.fakes.made;
    if (last > bound) break;
  }
  return bed.fakes.made;
}

for (const engine of engines) {
  describe(`a slow reader of the ${engine} engine`, () => {
    let bed: Bed;
    beforeEach(async () => {
      bed = await startBed(engine);
    });
    afterEach(() => bed.close());

    for (const way of waysIn) {
      if (way.only !== undefined && way.only !== engine) continue;
      it(`holds the producer back: ${way.name}`, async () => {
        const { transport, close } = way.open(bed.url);
        const abort = new AbortController();
        const { signal } = abort;
        const closed = once(bed.fakes, "closed");
        const stream = clientsOf(transport).jobs.watchJob({ id: "flood" }, { signal });
        const reader = stream[Symbol.asyncIterator]();
        await reader.next();
        expect(await untilStuck(bed)).to.be.below(bound);
        abort.abort();
        await reader.next().catch(() => {});
        await closed;
        close();
      });
    }

    it("holds the producer back: server-sent events", async () => {
      const abort = new AbortController();
      const headers = { authorization, accept: "text/event-stream" };
      const { signal } = abort;
      const closed = once(bed.fakes, "closed");
      const res = await fetch(`${bed.url}/v1/jobs/flood/events`, { headers, signal });
      await res.body?.getReader().read();
      expect(await untilStuck(bed)).to.be.below(bound);
      abort.abort();
      await closed;
    });
  });
}
