/** The handlers of `devmesh.api.v1.RunnerService`. */
import { durationFromMs, durationMs } from "@bufbuild/protobuf/wkt";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import type {
  AppendEventsRequest,
  FinishJobRequest,
  HeartbeatRequest,
  LeaseJobsRequest,
  LeaseRef,
  ListLeaseNotesRequest,
  RegisterRunnerRequest,
  ReleaseJobRequest,
  ReportEgressRequest,
  RunnerService,
} from "@devmesh/gen/devmesh/api/v1/runner_service_pb";
import { kPrincipal, kRequestId, kSubject } from "@devmesh/mesh/context";
import { invalidField } from "@devmesh/mesh/errors";
import type { Runners } from "./runners.ts";

/** What a host's runner says to the backend. */
export class RunnerServiceImpl implements ServiceImpl<typeof RunnerService> {
  readonly #runners: Runners;

  constructor({ runners }: { readonly runners: Runners }) {
    this.#runners = runners;
  }

  async registerRunner({ runner }: RegisterRunnerRequest, context: HandlerContext) {
    if (runner === undefined) throw invalidField("runner", "is missing");
    context.values.get(kSubject).resource = runner.id;
    await this.#runners.register(runner, callerOf(context));
    const { leaseTtlMs } = this.#runners;
    return {
      leaseTtl: durationFromMs(leaseTtlMs),
      heartbeatInterval: durationFromMs(leaseTtlMs / 4),
    };
  }

  async leaseJobs(req: LeaseJobsRequest, context: HandlerContext) {
    const { signal } = context;
    const input = {
      runnerId: req.runnerId,
      holder: callerOf(context),
      max: req.maxJobs,
      strongest: Math.max(...req.isolations),
      waitMs: req.wait === undefined ? 0 : durationMs(req.wait),
    };
    const ttl = durationFromMs(this.#runners.leaseTtlMs);
    const leases = await this.#runners.lease(input, signal);
    return { leases: leases.map((lease) => ({ ...lease, ttl })) };
  }

  async heartbeat({ runnerId, leases }: HeartbeatRequest, context: HandlerContext) {
    return await this.#runners.heartbeat(runnerId, leases, callerOf(context));
  }

  async appendEvents({ lease, events }: AppendEventsRequest, context: HandlerContext) {
    return { lastSeq: await this.#runners.append(required(lease), events, callerOf(context)) };
  }

  async listLeaseNotes({ lease, from }: ListLeaseNotesRequest, context: HandlerContext) {
    return await this.#runners.notes(required(lease), from, callerOf(context));
  }

  async finishJob({ lease, seq, result }: FinishJobRequest, context: HandlerContext) {
    const held = required(lease);
    if (result === undefined) throw invalidField("result", "is missing");
    context.values.get(kSubject).resource = held.jobId;
    return { job: await this.#runners.finish(held, seq, result, callerOf(context)) };
  }

  async reportEgress({ lease, number, decisions }: ReportEgressRequest, context: HandlerContext) {
    const held = required(lease);
    context.values.get(kSubject).resource = held.jobId;
    const requestId = context.values.get(kRequestId);
    await this.#runners.reportEgress(held, { number, decisions, requestId }, callerOf(context));
    return {};
  }

  async releaseJob({ lease, detail }: ReleaseJobRequest, context: HandlerContext) {
    const held = required(lease);
    context.values.get(kSubject).resource = held.jobId;
    await this.#runners.release(held, detail, callerOf(context));
    return {};
  }
}

/** Who holds what the call takes or names. */
function callerOf(context: HandlerContext): string {
  return context.values.get(kPrincipal).id;
}

function required(lease: LeaseRef | undefined): LeaseRef {
  if (lease === undefined) throw invalidField("lease", "is missing");
  return lease;
}
