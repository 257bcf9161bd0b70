import { create } from "@bufbuild/protobuf";
import { ConnectError, type Interceptor, type UnaryRequest } from "@connectrpc/connect";
import { JobService } from "@devmesh/gen/devmesh/api/v1/job_service_pb";
import { SandboxService } from "@devmesh/gen/devmesh/vm/v1/sandbox_service_pb";
import { kPrincipal, kRequestId, kSubject } from "@devmesh/mesh/context";
import { DevmeshError, toDevmeshError } from "@devmesh/mesh/errors";
import {
  type AuditEntry,
  type Authenticator,
  accessInterceptor,
  deadlineInterceptor,
  observeInterceptor,
  retryInterceptor,
  serviceTokenAuthenticator,
  validateInterceptor,
} from "@devmesh/mesh/interceptors";
import { createLogger } from "@devmesh/mesh/log";
import { CountedIds, TestClock } from "@devmesh/mesh/runtime";
import { bindMethods, serve } from "@devmesh/mesh/server";
import { createInProcessTransport } from "@devmesh/mesh/transport";
import { expect } from "chai";
import { fakeJobs, fakeSandboxes, idRequest } from "./fakes.ts";

type Handler = (req: UnaryRequest) => unknown;

/** Calls an interceptor around a handler as a unary client would. */
function around(interceptor: Interceptor, handler: Handler, method = idRequest.method) {
  const run = interceptor(async (req) => {
    const message = await handler(req as UnaryRequest);
    return { stream: false, header: new Headers(), message } as never;
  });
  const controller = new AbortController();
  const req = { ...idRequest, method, signal: controller.signal } as unknown as UnaryRequest;
  return { controller, result: run(req) };
}

async function reasonOf(result: Promise<unknown>): Promise<string> {
  return toDevmeshError(
    await result.then(
      () => expect.fail("it succeeded"),
      (e: unknown) => e,
    ),
  ).reason;
}

describe("retryInterceptor", () => {
  const unavailable = () => new DevmeshError("UNAVAILABLE", "down");
  const options = (clock: TestClock) => ({ clock, random: () => 1 });

  /** Lets the call run until it sleeps, then moves the time. */
  async function step(clock: TestClock, ms: number) {
    while (clock.sleeping === 0) await new Promise(setImmediate);
    clock.advance(ms);
  }

  it("waits twice as long each time, and gives up after the last try", async () => {
    const clock = new TestClock(0);
    const at: number[] = [];
    const { result } = around(retryInterceptor(options(clock)), () => {
      at.push(clock.now());
      throw unavailable();
    });
    const reason = reasonOf(result);
    for (const ms of [50, 100, 200]) await step(clock, ms);
    expect(await reason).to.equal("UNAVAILABLE");
    expect(at).to.deep.equal([0, 50, 150, 350]);
  });

  it("waits as long as the server says, but not longer than its limit", async () => {
    const clock = new TestClock(0);
    let tries = 0;
    const { result } = around(retryInterceptor(options(clock)), () => {
      tries += 1;
      const retryAfterMs = tries === 1 ? 700 : 60_000;
      throw new DevmeshError("RATE_LIMITED", "later", { retryAfterMs });
    });
    const reason = reasonOf(result);
    await step(clock, 700);
    expect(await reason).to.equal("RATE_LIMITED");
    expect(tries).to.equal(2);
  });

  it("tries once what is not idempotent, and what would fail again", async () => {
    for (const [method, reason] of [
      [JobService.method.createJob, "UNAVAILABLE"],
      [SandboxService.method.deleteSandbox, "NOT_FOUND"],
    ] as const) {
      let tries = 0;
      const interceptor = retryInterceptor(options(new TestClock()));
      const handler = () => {
        tries += 1;
        throw new DevmeshError(reason, "no");
      };
      expect(await reasonOf(around(interceptor, handler, method as never).result)).to.equal(reason);
      expect(tries).to.equal(1);
    }
  });

  it("stops waiting when the call is cancelled", async () => {
    const clock = new TestClock();
    const { controller, result } = around(retryInterceptor(options(clock)), () => {
      throw unavailable();
    });
    const reason = reasonOf(result);
    while (clock.sleeping === 0) await new Promise(setImmediate);
    controller.abort(new DevmeshError("CANCELLED", "enough"));
    expect(await reason).to.equal("CANCELLED");
  });
});

describe("deadlineInterceptor", () => {
  it("ends a call that takes too long, and aborts the handler's signal", async () => {
    let seen: AbortSignal | undefined;
    const { result } = around(deadlineInterceptor(1), (req) => {
      seen = req.signal;
      return new Promise(() => {});
    });
    expect(await reasonOf(result)).to.equal("DEADLINE_EXCEEDED");
    expect(toDevmeshError(seen?.reason).reason).to.equal("DEADLINE_EXCEEDED");
  });

  it("passes the caller's cancel on to the handler", async () => {
    const { controller, result } = around(
      deadlineInterceptor(60_000),
      ({ signal }) =>
        new Promise((_, reject) => {
          signal.addEventListener("abort", () => reject(signal.reason));
        }),
    );
    controller.abort(new DevmeshError("CANCELLED", "enough"));
    expect(await reasonOf(result)).to.equal("CANCELLED");
  });
});

describe("validateInterceptor", () => {
  it("names every field in fault, nested ones by their path", async () => {
    const { method } = JobService;
    const interceptor = validateInterceptor();
    const call = async (init: object) => {
      const run = interceptor(async () => expect.fail("it was called"));
      const message = create(method.createJob.input, init);
      const req = { ...idRequest, method: method.createJob, message } as unknown as UnaryRequest;
      return toDevmeshError(await (async () => run(req))().catch((e: unknown) => e));
    };
    const missing = await call({ idempotencyKey: "k".repeat(300) });
    expect(missing.reason).to.equal("INVALID_FIELD");
    expect(missing.metadata.field?.split(",")).to.have.members(["spec", "idempotencyKey"]);
    const nested = await call({ spec: { workspaceSha256: "xyz", maxAttempts: 99 } });
    expect(nested.metadata.field).to.include("spec.workspaceSha256");
    expect(nested.metadata.field).to.include("spec.maxAttempts");
  });
});

describe("accessInterceptor", () => {
  const call = (authenticator: Authenticator, header: Record<string, string> = {}) => {
    const run = accessInterceptor(authenticator)(async (req) => {
      return { stream: false, message: req.contextValues.get(kPrincipal).id } as never;
    });
    const req = { ...idRequest, header: new Headers(header) } as unknown as UnaryRequest;
    return (async () => run(req))();
  };
  const holding = (...scopes: string[]): Authenticator => ({
    authenticate: () => ({ id: "tok_1", owner: "ann", scopes: new Set(scopes), jobId: "" }),
  });

  it("lets in who holds the scope, and tells who does not why", async () => {
    expect(await call(holding("run:jobs"))).to.have.property("message", "tok_1");
    const error = toDevmeshError(await call(holding("read:jobs")).catch((e: unknown) => e));
    expect(error.reason).to.equal("SCOPE_MISSING");
    expect(error.metadata).to.deep.equal({ scope: "run:jobs" });
  });

  it("knows the deployment's secret, and nothing that only looks like it", async () => {
    const authenticator = serviceTokenAuthenticator("s3cret");
    const bearer = (secret: string) => ({ authorization: `Bearer ${secret}` });
    expect(await call(authenticator, bearer("s3cret"))).to.have.property("message", "service");
    for (const header of [{}, bearer("s3creT"), bearer(""), bearer("s3cret2")]) {
      expect(await reasonOf(call(authenticator, header))).to.equal("UNAUTHENTICATED");
    }
  });
});

describe("observeInterceptor", () => {
  interface Line {
    readonly level: string;
    readonly outcome: string;
    readonly requestId: string;
    readonly resource?: string;
  }

  function bed(sink?: (entry: AuditEntry) => void) {
    const lines: Line[] = [];
    const audited: AuditEntry[] = [];
    const logger = createLogger({
      service: "test",
      level: "debug",
      destination: { write: (text) => void lines.push(JSON.parse(text)) },
    });
    const observe = observeInterceptor({
      logger,
      clock: new TestClock(5),
      ids: new CountedIds(),
      audit: sink ?? ((entry) => void audited.push(entry)),
    });
    return { lines, audited, observe };
  }

  it("names the call, logs it once and audits it", async () => {
    const { lines, audited, observe } = bed();
    const { result } = around(observe, (req) => {
      expect(req.contextValues.get(kRequestId)).to.equal("req_1");
      req.contextValues.get(kSubject).resource = "sbx_1";
      return {};
    });
    expect((await result).header.get("x-request-id")).to.equal("req_1");
    expect(lines).to.have.length(1);
    expect(lines[0]).to.include({ outcome: "ok", requestId: "req_1", resource: "sbx_1" });
    expect(audited).to.deep.equal([
      {
        timeMs: 5,
        actor: "anonymous",
        action: "sandbox.delete",
        resource: "sbx_1",
        outcome: "ok",
        correlationId: "req_1",
      },
    ]);
  });

  it("maps what was thrown, and hides what it does not know", async () => {
    const { lines, audited, observe } = bed();
    const error = await around(observe, () => {
      throw new Error("password is hunter2");
    }).result.then(
      () => undefined,
      (e: unknown) => e,
    );
    expect(error).to.be.instanceOf(ConnectError);
    expect((error as ConnectError).message).to.not.include("hunter2");
    expect((error as ConnectError).metadata.get("x-request-id")).to.equal("req_1");
    expect(lines.map(({ level }) => level)).to.deep.equal(["error"]);
    expect(JSON.stringify(lines)).to.include("hunter2");
    expect(audited.map(({ outcome }) => outcome)).to.deep.equal(["INTERNAL"]);
  });

  it("answers the call when the audit fails, and says so in the log", async () => {
    const { lines, observe } = bed(() => {
      throw new Error("the disk is full");
    });
    await around(observe, () => ({})).result;
    expect(lines.map(({ level }) => level)).to.deep.equal(["debug", "error"]);
  });

  it("logs once a stream that ends, fails, or is left", async () => {
    const { lines, observe } = bed();
    const jobs = serve(JobService, fakeJobs());
    const sandboxes = serve(SandboxService, fakeSandboxes());
    const methods = bindMethods([jobs, sandboxes], [observe]);
    const transport = createInProcessTransport({ methods });
    const watch = async (id: string, read: number) => {
      const input = (async function* () {
        yield { id };
      })();
      const method = JobService.method.watchJob;
      const res = await transport.stream(method, undefined, undefined, undefined, input);
      const messages = res.message[Symbol.asyncIterator]();
      for (let i = 0; i < read; i++) await messages.next();
      await messages.return?.();
    };
    await watch("three", 4);
    await watch("breaks", 4).catch(() => {});
    await watch("three", 1);
    expect(lines.map(({ outcome }) => outcome)).to.deep.equal(["ok", "WRONG_STATE", "CANCELLED"]);
  });
});
