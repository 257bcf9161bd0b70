import { once } from "node:events";
import { toDevmeshError } from "@devmesh/mesh/errors";
import { expect } from "chai";
import {
  type Bed,
  clientsOf,
  collect,
  engines,
  failureOf,
  startBed,
  waysIn,
} from "./engines-bed.ts";

for (const engine of engines) {
  for (const way of waysIn) {
    if (way.only !== undefined && way.only !== engine) continue;

    describe(`${way.name} to the ${engine} engine`, () => {
      let bed: Bed;
      let connection: ReturnType<typeof way.open>;
      let clients: ReturnType<typeof clientsOf>;
      before(async () => {
        bed = await startBed(engine);
        connection = way.open(bed.url);
        clients = clientsOf(connection.transport);
      });
      after(async () => {
        connection.close();
        await bed.close();
      });
      beforeEach(() => {
        bed.lines.length = 0;
      });

      it("answers a unary call and echoes its request id", async () => {
        const ids: (string | null)[] = [];
        const onHeader = (header: Headers) => void ids.push(header.get("x-request-id"));
        const headers = { "x-request-id": "mine-1" };
        const answer = await clients.sandboxes.listSandboxes({}, { headers, onHeader });
        expect(answer.sandboxes.map(({ id }) => id)).to.deep.equal(["sbx_1"]);
        await clients.sandboxes.listSandboxes({}, { onHeader });
        expect(ids[0]).to.equal("mine-1");
        expect(ids[1]).to.match(/^req_\w{26}$/);
      });

      it("brings an error with its reason, message, metadata and wait", async () => {
        const missing = toDevmeshError(
          await failureOf(clients.sandboxes.deleteSandbox({ id: "sbx_2" })),
        );
        expect(missing).to.include({
          reason: "NOT_FOUND",
          message: 'there is no sandbox "sbx_2"',
        });
        expect({ ...missing.metadata }).to.deep.equal({ resource: "sandbox", id: "sbx_2" });
        const busy = await failureOf(clients.sandboxes.deleteSandbox({ id: "busy" }));
        expect(toDevmeshError(busy)).to.include({ reason: "RATE_LIMITED", retryAfterMs: 1_500 });
        const invalid = toDevmeshError(
          await failureOf(clients.sandboxes.deleteSandbox({ id: "" })),
        );
        expect(invalid.reason).to.equal("INVALID_FIELD");
        expect(invalid.metadata.field).to.equal("id");
      });

      it("hides what the service did not mean to say", async () => {
        const error = toDevmeshError(
          await failureOf(clients.sandboxes.deleteSandbox({ id: "broken" })),
        );
        expect(error.reason).to.equal("INTERNAL");
        expect(error.message).to.not.include("hunter2");
        expect(JSON.stringify(bed.lines)).to.include("hunter2");
      });

      it("streams", async () => {
        const steps = await collect(clients.jobs.watchJob({ id: "three" }));
        expect(steps).to.have.length(3);
      });

      it("brings an error in the middle of a stream, logged once", async () => {
        for (const [id, reason] of [
          ["breaks", "WRONG_STATE"],
          ["fails", "INTERNAL"],
        ] as const) {
          bed.lines.length = 0;
          const got: unknown[] = [];
          const error = await failureOf(
            (async () => {
              for await (const step of clients.jobs.watchJob({ id })) got.push(step);
            })(),
          );
          expect(toDevmeshError(error).reason).to.equal(reason);
          expect(got).to.have.length(1);
          expect(bed.lines.map(({ outcome }) => outcome)).to.deep.equal([reason]);
        }
      });

      it("takes a stream of the client's", async () => {
        async function* pieces() {
          for (let i = 0; i < 50; i++) yield { data: new Uint8Array(10_000) };
        }
        const { sizeBytes } = await clients.blobs.putBlob(pieces());
        expect(sizeBytes).to.equal(500_000n);
      });

      it("tells the handler of the caller's deadline, and ends the call at it", async () => {
        await clients.sandboxes.probeHost({}, { timeoutMs: 50_000 });
        expect(bed.fakes.timeoutMs).to.be.within(1, 50_000);
        await clients.sandboxes.probeHost({});
        expect(bed.fakes.timeoutMs).to.equal(undefined);
        const late = clients.sandboxes.probeHost({ refresh: true }, { timeoutMs: 20 });
        expect(toDevmeshError(await failureOf(late)).reason).to.equal("DEADLINE_EXCEEDED");
      });

      it("brings a cancel of a unary call to the handler", async () => {
        const abort = new AbortController();
        const called = once(bed.fakes, "called");
        const aborted = once(bed.fakes, "aborted");
        const { signal } = abort;
        const call = failureOf(clients.sandboxes.probeHost({ refresh: true }, { signal }));
        await called;
        abort.abort();
        expect(toDevmeshError(await call).reason).to.equal("CANCELLED");
        const [reason] = await aborted;
        expect(toDevmeshError(reason).reason).to.equal("CANCELLED");
      });

      it("brings a cancel of a stream to the handler, which closes", async () => {
        const abort = new AbortController();
        const closed = once(bed.fakes, "closed");
        const watch = failureOf(
          (async () => {
            const { signal } = abort;
            for await (const _ of clients.jobs.watchJob({ id: "endless" }, { signal }))
              abort.abort();
          })(),
        );
        expect(toDevmeshError(await watch).reason).to.equal("CANCELLED");
        await closed;
      });
    });
  }
}
