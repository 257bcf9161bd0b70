import { createContextValues } from "@connectrpc/connect";
import { JobService } from "@devmesh/gen/devmesh/api/v1/job_service_pb";
import { anonymous } from "@devmesh/mesh/context";
import { DevmeshError, toDevmeshError } from "@devmesh/mesh/errors";
import type { AuditEntry } from "@devmesh/mesh/interceptors";
import { createLogger } from "@devmesh/mesh/log";
import { CountedIds, TestClock } from "@devmesh/mesh/runtime";
import { bindMethods, serve, serverInterceptors } from "@devmesh/mesh/server";
import { expect } from "chai";
import type { CallLine } from "./call-bed.ts";

const scopes = new Set(["read:jobs"]);

/** Watches a job through the whole chain; `steps` is what the handler does. */
async function watch(
  steps: (signal: AbortSignal) => AsyncIterable<object>,
  options: { id?: string; signal?: AbortSignal; scoped?: boolean } = {},
) {
  const { id = "job_1", signal = new AbortController().signal, scoped = true } = options;
  const lines: CallLine[] = [];
  const audited: AuditEntry[] = [];
  const destination = { write: (text: string) => void lines.push(JSON.parse(text)) };
  const interceptors = serverInterceptors({
    logger: createLogger({ service: "test", level: "debug", destination }),
    clock: new TestClock(),
    ids: new CountedIds(),
    audit: (entry) => void audited.push(entry),
    authenticator: {
      authenticate: () => (scoped ? { id: "reader", owner: "ann", scopes, jobId: "" } : anonymous),
    },
    requestTimeoutMs: 60_000,
  });
  const watchJob = (_: unknown, context: { signal: AbortSignal }) => steps(context.signal);
  const methods = bindMethods([serve(JobService, { watchJob } as never)], interceptors);
  const method = methods.find(({ desc }) => desc === JobService.method.watchJob);
  if (method === undefined) throw new Error("WatchJob is not bound");
  const input = (async function* () {
    yield { $typeName: method.desc.input.typeName, id, from: 0 };
  })();
  let got = 0;
  let error: unknown;
  try {
    const res = await method.stream(input as never, {
      header: new Headers(),
      signal,
      timeoutMs: undefined,
      protocolName: "test",
      requestMethod: "POST",
      url: method.path,
      contextValues: createContextValues(),
    });
    for await (const _ of res.message) got += 1;
  } catch (thrown) {
    error = thrown;
  }
  const outcomes = lines.map(({ outcome }) => outcome);
  return { got, error: error && toDevmeshError(error), wire: error, lines, outcomes, audited };
}

const step = { step: { case: "event", value: { seq: 1 } } };

describe("a stream through the whole chain", () => {
  it("hides a text thrown between two messages and logs it once", async () => {
    const { got, error, wire, lines, audited } = await watch(async function* () {
      yield step;
      throw new Error("SQLITE_IOERR: disk I/O error");
    });
    expect(got).to.equal(1);
    expect(error).to.include({ reason: "INTERNAL" });
    expect(String(wire)).to.not.include("SQLITE");
    expect((wire as { metadata: Headers }).metadata.get("x-request-id")).to.equal("req_1");
    expect(lines).to.have.length(1);
    expect(lines[0]).to.include({ level: "error", outcome: "INTERNAL", actor: "reader" });
    expect(JSON.stringify(lines)).to.include("SQLITE_IOERR");
    expect(audited).to.deep.equal([]);
  });

  it("tells its reader of the shutdown, though its handler just returned", async () => {
    const shutdown = new AbortController();
    const { got, error, outcomes } = await watch(
      async function* () {
        yield step;
        shutdown.abort(new DevmeshError("DRAINING", "the server is shutting down"));
      },
      { signal: shutdown.signal },
    );
    expect(got).to.equal(1);
    expect(error).to.include({ reason: "DRAINING" });
    expect(outcomes).to.deep.equal(["DRAINING"]);
  });

  it("is refused before its handler runs, and logged once", async () => {
    for (const [options, reason] of [
      [{ scoped: false }, "UNAUTHENTICATED"],
      [{ id: "" }, "INVALID_FIELD"],
    ] as const) {
      let ran = false;
      const { error, outcomes } = await watch(async function* () {
        ran = true;
        yield step;
      }, options);
      expect(error, reason).to.include({ reason });
      expect({ ran, outcomes }).to.deep.equal({ ran: false, outcomes: [reason] });
    }
  });

  it("is logged when it ends, not when it begins", async () => {
    const { got, error, outcomes } = await watch(async function* () {
      yield step;
      yield step;
    });
    expect({ got, error, outcomes }).to.deep.equal({ got: 2, error: undefined, outcomes: ["ok"] });
  });
});
