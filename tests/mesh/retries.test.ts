import type { DescMethod } from "@bufbuild/protobuf";
import { MethodOptions_IdempotencyLevel } from "@bufbuild/protobuf/wkt";
import { JobService } from "@devmesh/gen/devmesh/api/v1/job_service_pb";
import { RunnerService } from "@devmesh/gen/devmesh/api/v1/runner_service_pb";
import { DevmeshError, isRetryable, reasons } from "@devmesh/mesh/errors";
import { type RetryOptions, retryInterceptor } from "@devmesh/mesh/interceptors";
import { type Clock, SystemClock } from "@devmesh/mesh/runtime";
import { expect } from "chai";
import fc from "fast-check";
import { request, through } from "./lone-call.ts";

describe("retryInterceptor", () => {
  /** Runs a call against a clock that notes each wait and lets no time pass. */
  async function run(
    method: DescMethod,
    fail: (tries: number) => unknown,
    options: Omit<RetryOptions, "clock"> = {},
  ) {
    const waits: number[] = [];
    let tries = 0;
    const clock: Clock = { now: () => 0, sleep: async (ms) => void waits.push(ms) };
    const init = method.methodKind === "unary" ? {} : [];
    const error = await through(
      retryInterceptor({ clock, ...options }),
      request(method, init),
      () => {
        tries += 1;
        const thrown = fail(tries);
        if (thrown !== undefined) throw thrown;
      },
    );
    return { waits, tries, reason: error?.reason };
  }
  const down = () => new DevmeshError("UNAVAILABLE", "down");

  it("repeats a read until it succeeds", async () => {
    const fail = (n: number) => (n < 3 ? down() : undefined);
    const { tries, reason } = await run(JobService.method.getJob, fail);
    expect({ tries, reason }).to.deep.equal({ tries: 3, reason: undefined });
  });

  it("repeats exactly the reasons that may pass", async () => {
    for (const reason of reasons) {
      const fail = () => new DevmeshError(reason, "no");
      const ended = await run(JobService.method.getJob, fail);
      expect(ended.tries, reason).to.equal(isRetryable(reason) ? 4 : 1);
      expect(ended.reason).to.equal(reason);
    }
  });

  it("never repeats a stream", async () => {
    const { tries, waits } = await run(JobService.method.watchJob, down);
    expect({ tries, waits }).to.deep.equal({ tries: 1, waits: [] });
  });

  it("never repeats a call whose caller has left", async () => {
    let count = 0;
    const req = request(JobService.method.getJob, {}, AbortSignal.abort());
    await through(retryInterceptor({ clock: new SystemClock() }), req, () => {
      count += 1;
      throw down();
    });
    expect(count).to.equal(1);
  });

  it("waits no longer than its limit, whatever the dice say", async () => {
    await fc.assert(
      fc.asyncProperty(fc.double({ min: 0, max: 1, noNaN: true }), async (share) => {
        const options = { attempts: 6, baseMs: 2, maxMs: 8, random: () => share };
        const { waits } = await run(JobService.method.getJob, down, options);
        expect(waits).to.deep.equal([2, 4, 8, 8, 8].map((ms) => ms * share));
      }),
    );
  });

  it("goes by what the contract says of the method, for every method of a service", async () => {
    const { IDEMPOTENCY_UNKNOWN } = MethodOptions_IdempotencyLevel;
    for (const method of [...JobService.methods, ...RunnerService.methods]) {
      const safe = method.idempotency !== IDEMPOTENCY_UNKNOWN && method.methodKind === "unary";
      expect((await run(method, down)).tries, method.name).to.equal(safe ? 4 : 1);
    }
  });

  it("waits exactly as long as the server asks, and not at all for too long a wait", async () => {
    const asks = (retryAfterMs: number) => () =>
      new DevmeshError("RATE_LIMITED", "later", { retryAfterMs });
    const method = JobService.method.getJob;
    expect((await run(method, asks(2_000))).waits).to.deep.equal([2_000, 2_000, 2_000]);
    expect((await run(method, asks(0))).waits).to.deep.equal([0, 0, 0]);
    expect((await run(method, asks(2_001))).waits).to.deep.equal([]);
  });
});
