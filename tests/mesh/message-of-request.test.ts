import { type DescMethod, type JsonValue, toJson } from "@bufbuild/protobuf";
import { JobService } from "@devmesh/gen/devmesh/api/v1/job_service_pb";
import { ContextService } from "@devmesh/gen/devmesh/mcp/v1/context_service_pb";
import { SandboxService } from "@devmesh/gen/devmesh/vm/v1/sandbox_service_pb";
import { DevmeshError } from "@devmesh/mesh/errors";
import { expect } from "chai";
import fc from "fast-check";
import { messageOfRequest } from "../../services/mesh/rest/message-of-request.ts";
import { compilePath } from "../../services/mesh/rest/path-template.ts";
import type { RestRoute } from "../../services/mesh/rest/routes.ts";

interface Parts {
  readonly query?: string;
  readonly body?: string | Uint8Array;
  readonly variables?: Record<string, string>;
}

function route(desc: DescMethod, body = ""): RestRoute {
  const neverCalled = () => Promise.reject(new Error("not called here"));
  const method = { desc, path: "", unary: neverCalled, stream: neverCalled };
  return { verb: "POST", path: compilePath("/x"), body, method, streams: false };
}

/** The message as proto JSON. */
function read(to: RestRoute, { query = "", body = "", variables = {} }: Parts): JsonValue {
  const bytes = typeof body === "string" ? new TextEncoder().encode(body) : body;
  const message = messageOfRequest(to, {
    variables,
    query: new URLSearchParams(query),
    body: bytes,
  });
  return toJson(to.method.desc.input, message);
}

/** The refusal. */
function refused(to: RestRoute, parts: Parts): { reason: string; field: string | undefined } {
  try {
    read(to, parts);
  } catch (error) {
    expect(error).to.be.instanceOf(DevmeshError);
    const { reason, metadata } = error as DevmeshError;
    return { reason, field: metadata.field };
  }
  throw new Error("the request was taken");
}

const listJobs = route(JobService.method.listJobs);
const createJob = route(JobService.method.createJob, "spec");
const createByQuery = route(JobService.method.createJob);
const probeHost = route(SandboxService.method.probeHost);
const ingest = route(ContextService.method.ingest, "*");

describe("a message of a request", () => {
  it("takes query parameters by either name, numbers and repeated enums", () => {
    const query = "page_size=7&statuses=JOB_STATUS_RUNNING&statuses=JOB_STATUS_QUEUED";
    const wanted = { pageSize: 7, statuses: ["JOB_STATUS_RUNNING", "JOB_STATUS_QUEUED"] };
    expect(read(listJobs, { query })).to.deep.equal(wanted);
    expect(read(listJobs, { query: query.replace("page_size", "pageSize") })).to.deep.equal(wanted);
  });

  it("takes nested fields, repeated ones and maps by path", () => {
    const query = "spec.command.argv=ls&spec.command.argv=-l&spec.labels.a.b=c&spec.max_attempts=2";
    expect(read(createByQuery, { query })).to.deep.equal({
      spec: { command: { argv: ["ls", "-l"] }, labels: { "a.b": "c" }, maxAttempts: 2 },
    });
  });

  it("takes a flag without a value as true", () => {
    expect(read(probeHost, { query: "refresh" })).to.deep.equal({ refresh: true });
    expect(read(probeHost, { query: "refresh=false" })).to.deep.equal({});
  });

  it("puts the body under its field and the query beside it", () => {
    const body = JSON.stringify({ maxAttempts: 1 });
    expect(read(createJob, { body, query: "idempotency_key=k" })).to.deep.equal({
      spec: { maxAttempts: 1 },
      idempotencyKey: "k",
    });
  });

  it("lets the path win over the body", () => {
    const cancel = route(JobService.method.cancelJob, "*");
    const body = JSON.stringify({ id: "other", detail: "d" });
    expect(read(cancel, { body, variables: { id: "job_1" } })).to.deep.equal({
      id: "job_1",
      detail: "d",
    });
  });

  it("names the field that is wrong", () => {
    const cases: [RestRoute, Parts, string][] = [
      [listJobs, { query: "nope=1" }, "nope"],
      [listJobs, { query: "page_size=many" }, "pageSize"],
      [listJobs, { query: "page_size.x=1" }, "page_size.x"],
      [listJobs, { query: "statuses=RUNNING" }, "statuses"],
      [probeHost, { query: "refresh=maybe" }, "refresh"],
      [createJob, { body: '{"maxAttempts": "x"}' }, "spec.maxAttempts"],
      [createJob, { body: '{"surprise": 1}' }, "spec.surprise"],
      [createJob, { body: '{"labels": "x"}', query: "spec.labels.a=1" }, "labels"],
      [createJob, { body: '{"isolation": "NONE"}' }, "spec.isolation"],
    ];
    for (const [to, parts, field] of cases) {
      expect(refused(to, parts), JSON.stringify(parts)).to.deep.equal({
        reason: "INVALID_FIELD",
        field,
      });
    }
  });

  it("refuses a body that is no JSON object", () => {
    for (const body of ["{", "[]", "1", "null", '"x"', Uint8Array.of(0xff, 0xfe)]) {
      expect(refused(ingest, { body }).reason, String(body)).to.equal("MALFORMED_BODY");
    }
  });

  it("answers any input with a message or a refusal of its own", () => {
    const parts = fc.record({
      query: fc.oneof(fc.string(), fc.webQueryParameters()),
      body: fc.oneof(fc.json(), fc.string(), fc.uint8Array()),
    });
    fc.assert(
      fc.property(parts, fc.constantFrom(listJobs, createJob, createByQuery, ingest), (p, to) => {
        try {
          read(to, p);
        } catch (error) {
          expect(error).to.be.instanceOf(DevmeshError);
          expect((error as DevmeshError).reason).to.be.oneOf(["INVALID_FIELD", "MALFORMED_BODY"]);
        }
      }),
      { numRuns: 500 },
    );
  });
});
