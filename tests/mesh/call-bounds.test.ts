import type { DescMethod } from "@bufbuild/protobuf";
import { BlobService } from "@devmesh/gen/devmesh/api/v1/blob_service_pb";
import { JobService } from "@devmesh/gen/devmesh/api/v1/job_service_pb";
import { RunnerService } from "@devmesh/gen/devmesh/api/v1/runner_service_pb";
import { DevmeshError } from "@devmesh/mesh/errors";
import {
  bearerInterceptor,
  deadlineInterceptor,
  validateInterceptor,
} from "@devmesh/mesh/interceptors";
import { expect } from "chai";
import { type Call, request, through } from "./lone-call.ts";

const readAll = async (req: Call) => {
  if (req.stream) for await (const _ of req.message);
};

describe("validateInterceptor", () => {
  const fields = async (method: DescMethod, init: object) => {
    const error = await through(validateInterceptor(), request(method, init), readAll);
    return error === undefined ? [] : [error.reason, ...(error.metadata.field ?? "").split(",")];
  };

  it("names items of lists and keys of maps", async () => {
    const command = { argv: ["true"], env: { "not a name": "x" } };
    const spec = { work: { case: "command", value: command } };
    const [reason, field] = await fields(JobService.method.createJob, { spec });
    expect(reason).to.equal("INVALID_FIELD");
    expect(field).to.equal('spec.command.env["not a name"]');
    const lease = { runnerId: "r", maxJobs: 1, isolations: [1, 99] };
    const leased = await fields(RunnerService.method.leaseJobs, lease);
    expect(leased).to.deep.equal(["INVALID_FIELD", "isolations[1]"]);
  });

  it("names every field in fault once", async () => {
    const all = await fields(RunnerService.method.leaseJobs, {});
    expect(all).to.deep.equal(["INVALID_FIELD", "runnerId", "maxJobs", "isolations"]);
  });

  it("holds every message of a stream to the rules, also the last", async () => {
    const { getBlob } = BlobService.method;
    const good = { sha256: "a".repeat(64) };
    expect(await fields(getBlob, [good, good])).to.deep.equal([]);
    expect(await fields(getBlob, [good, { sha256: "A" }])).to.deep.equal([
      "INVALID_FIELD",
      "sha256",
    ]);
  });
});

describe("deadlineInterceptor", () => {
  it("leaves a stream to its handler", async () => {
    const req = request(JobService.method.watchJob, []);
    let signal: AbortSignal | undefined;
    await through(deadlineInterceptor(1), req, (inner) => {
      signal = inner.signal;
    });
    expect(signal).to.equal(req.signal);
  });

  it("does not keep a call that was cancelled before it came", async () => {
    const reason = new DevmeshError("DRAINING", "the server is shutting down");
    const req = request(JobService.method.getJob, {}, AbortSignal.abort(reason));
    let told: unknown;
    const error = await through(deadlineInterceptor(60_000), req, (inner) => {
      told = inner.signal.reason;
      return new Promise(() => {});
    });
    expect(error?.reason).to.equal("DRAINING");
    expect(told).to.equal(reason);
  });

  it("is over with the answer: a later cancel reaches nobody", async () => {
    const abort = new AbortController();
    let signal: AbortSignal | undefined;
    const req = request(JobService.method.getJob, {}, abort.signal);
    const error = await through(deadlineInterceptor(60_000), req, (inner) => {
      signal = inner.signal;
    });
    abort.abort();
    expect({ error, aborted: signal?.aborted }).to.deep.equal({ error: undefined, aborted: false });
  });
});

describe("bearerInterceptor", () => {
  const shownBy = async (own?: string) => {
    const req = request(JobService.method.getJob, {});
    if (own !== undefined) req.header.set("authorization", own);
    let shown: string | null = null;
    await through(bearerInterceptor("s3cret"), req, (inner) => {
      shown = inner.header.get("authorization");
    });
    return shown;
  };

  it("shows the secret", async () => {
    expect(await shownBy()).to.equal("Bearer s3cret");
  });

  it("shows what a call is made with on purpose, as a job's own token", async () => {
    expect(await shownBy("Bearer other")).to.equal("Bearer other");
  });
});
