import type { Transport } from "@connectrpc/connect";
import { Code, ConnectError } from "@connectrpc/connect";
import { toDevmeshError } from "@devmesh/mesh/errors";
import { bearerInterceptor } from "@devmesh/mesh/interceptors";
import { createInProcessTransport } from "@devmesh/mesh/transport";
import { expect } from "chai";
import { type Bed, clientsOf, collect, secret, startBed, waysIn } from "./engines-bed.ts";

type Clients = ReturnType<typeof clientsOf>;

/** Calls that must have the same end however they are made. */
const calls: Readonly<Record<string, (clients: Clients) => Promise<unknown>>> = {
  "a unary call": ({ sandboxes }) => sandboxes.listSandboxes({}),
  "a refusal with metadata": ({ sandboxes }) => sandboxes.deleteSandbox({ id: "sbx_2" }),
  "a refusal with a wait": ({ sandboxes }) => sandboxes.deleteSandbox({ id: "busy" }),
  "an invalid field": ({ sandboxes }) => sandboxes.deleteSandbox({ id: "x".repeat(65) }),
  "a defect": ({ sandboxes }) => sandboxes.deleteSandbox({ id: "broken" }),
  "a stream": ({ jobs }) => collect(jobs.watchJob({ id: "three" })),
  "a stream that is refused": ({ jobs }) => collect(jobs.watchJob({ id: "" })),
  "a stream that breaks": ({ jobs }) => collect(jobs.watchJob({ id: "breaks" })),
  "a stream with a defect": ({ jobs }) => collect(jobs.watchJob({ id: "fails" })),
  "a stream of requests": ({ blobs }) => blobs.putBlob(pieces("")),
  "a bad request in a stream": ({ blobs }) => blobs.putBlob(pieces("no hash")),
  "a method that is not there": ({ blobs }) => blobs.statBlob({ sha256: "0".repeat(64) }),
  "a deadline": ({ sandboxes }) => sandboxes.probeHost({ refresh: true }, { timeoutMs: 20 }),
  "a deadline of a stream": ({ jobs }) =>
    collect(jobs.watchJob({ id: "endless" }, { timeoutMs: 20 })),
  "a call that was cancelled before": ({ sandboxes }) =>
    sandboxes.listSandboxes({}, { signal: AbortSignal.abort() }),
};

async function* pieces(sha256: string) {
  yield { data: new Uint8Array(3) };
  yield { sha256, data: new Uint8Array(4) };
}

/** The result, or the facts of the error that do not depend on the way. */
async function endOf(result: Promise<unknown>): Promise<unknown> {
  try {
    return { value: await result };
  } catch (error) {
    expect(error).to.be.instanceOf(ConnectError);
    const { reason, metadata, retryAfterMs, message } = toDevmeshError(error);
    const timed = reason === "DEADLINE_EXCEEDED" || reason === "UNIMPLEMENTED";
    const text = timed ? "" : message;
    return { code: Code[(error as ConnectError).code], reason, metadata, retryAfterMs, text };
  }
}

describe("in process and over gRPC", () => {
  let bed: Bed;
  let remote: { transport: Transport; close(): void };
  let local: Transport;
  before(async () => {
    bed = await startBed("grpc-js");
    const [ours] = waysIn;
    if (ours === undefined) throw new Error("no way in");
    remote = ours.open(bed.url);
    const interceptors = [bearerInterceptor(secret)];
    local = createInProcessTransport({ methods: bed.methods, interceptors });
  });
  after(async () => {
    remote.close();
    await bed.close();
  });

  for (const [name, call] of Object.entries(calls)) {
    it(`${name} ends alike`, async () => {
      const there = await endOf(call(clientsOf(remote.transport)));
      const here = await endOf(call(clientsOf(local)));
      expect(here).to.deep.equal(there);
    });
  }
});
