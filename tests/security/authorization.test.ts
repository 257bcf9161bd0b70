/**
 * Who may call what: every public method with every kind of caller, by Connect
 * and by gRPC. What is expected is derived from the contracts' own options, so a
 * new method is tested the moment it is served, and fails without options.
 */
import { create, type DescMethod, type Message } from "@bufbuild/protobuf";
import type { Interceptor, Transport } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport } from "@connectrpc/connect-node";
import { JobService } from "@devmesh/gen/devmesh/api/v1/job_service_pb";
import { TokenService } from "@devmesh/gen/devmesh/api/v1/token_service_pb";
import { toDevmeshError } from "@devmesh/mesh/errors";
import { accessOf } from "@devmesh/mesh/interceptors";
import { expect } from "chai";
import { contracts } from "../../services/api/contracts.ts";
import { scopesOf } from "../../services/api/tokens/scopes.ts";
import { Bed, trueSpec } from "../api/bed.ts";
import { type Caller, Callers } from "./callers.ts";

const methods = contracts.flatMap((contract) => contract.methods);
const scopes = scopesOf(contracts.map((desc) => ({ desc })));

/** What a call ended with. */
interface Answer {
  readonly reason: string;
  readonly text: string;
}

/** What the options of a method demand for a caller. */
type Expected = "UNAUTHENTICATED" | "SCOPE_MISSING" | "NOT_FOUND" | "let in";

function expected(method: DescMethod, caller: Caller, ownerOfResource: string): Expected {
  const rule = accessOf(method);
  if (rule === undefined) throw new Error(`${method.name} declares no access`);
  if (caller.is === "refused") return "UNAUTHENTICATED";
  if (rule.public) return "let in";
  if (caller.is === "nobody") return "UNAUTHENTICATED";
  if (![rule.scope, ...rule.orScopes].some((scope) => caller.holds(scope))) return "SCOPE_MISSING";
  if (!rule.owned || caller.holds("admin:owners")) return "let in";
  return caller.owner === ownerOfResource ? "let in" : "NOT_FOUND";
}

describe("the authorisation matrix", function () {
  this.timeout(120_000);
  let bed: Bed;
  let bypass: Bed;
  let callers: Callers;

  before(async () => {
    // Nobody is slowed down: the matrix is one address with far more bad tokens than are allowed.
    const anonymousRateLimit = undefined;
    // Longer than the matrix lets time go by: the job's token lives with its lease.
    bed = await Bed.open({ config: { leaseTtlMs: 600_000, anonymousRateLimit } });
    bypass = await Bed.open({ config: { devBypass: true, anonymousRateLimit } });
    callers = await Callers.open(bed, scopes);
  });
  after(async () => {
    await bed?.close();
    await bypass?.close();
  });

  it("covers every method that is served, and each declares who may call it", () => {
    expect(bed.api.methods.map(({ desc }) => desc)).to.deep.equal(methods);
    for (const method of methods) {
      const rule = accessOf(method);
      expect(rule, method.name).to.not.equal(undefined);
      expect(rule?.public === (rule?.scope === ""), `${method.name}: public or a scope`).to.equal(
        true,
      );
      if (rule?.scope) expect(rule.scope, method.name).to.match(/^[a-z]+:[a-z]+$/);
    }
  });

  it("holds whatever names a job or a token of somebody to its owner", () => {
    for (const method of [...JobService.methods, ...TokenService.methods]) {
      const namesOne = method.input.fields.some(({ name }) => name === "id");
      expect(accessOf(method)?.owned, method.name).to.equal(namesOne);
    }
  });

  it("has the scopes that people are told of", () => {
    expect(scopes).to.include.members(["read:jobs", "write:jobs", "llm:invoke", "context:read"]);
    expect(scopes).to.include("admin:owners");
  });

  for (const method of methods) {
    const rule = accessOf(method);
    const who = rule?.public ? "anybody" : `${rule?.scope}${rule?.owned ? ", its owner" : ""}`;
    it(`${method.parent.name}.${method.name}: ${who}`, async () => {
      for (const [kind, caller] of Object.entries(await callers.all(rule?.scope ?? ""))) {
        for (const [protocol, transportOf] of Object.entries(transports)) {
          const place = caller.bypass ? bypass : bed;
          const transport = transportOf(await place.url(), caller.authorization);
          const owner = "ann";
          const id = rule?.owned ? await resource(place, method, owner) : "";
          const answer = await call(transport, method, id);
          const wanted = expected(method, caller, owner);
          const what = `${kind} by ${protocol}: ${answer.reason} ${answer.text}`;
          if (wanted === "let in") {
            const refusals = ["UNAUTHENTICATED", "SCOPE_MISSING", "INTERNAL", "CANCELLED"];
            if (rule?.owned) refusals.push("NOT_FOUND");
            expect(answer.reason, what).to.not.be.oneOf(refusals);
          } else expect(answer.reason, what).to.equal(wanted);
          if (wanted === "NOT_FOUND") {
            const missing = await call(transport, method, missingId);
            expect(missing.text.replaceAll(missingId, id), what).to.equal(answer.text);
          }
        }
      }
    });
  }

  it("shows in lists what is the caller's own, and everything to admin:owners", async () => {
    const kinds = await callers.all("read:jobs");
    const jobOf = {
      ann: await resource(bed, JobService.method.getJob, "ann"),
      bob: await resource(bed, JobService.method.getJob, "bob"),
    };
    const seen = async (kind: string) => {
      const secret = kinds[kind]?.authorization.replace("Bearer ", "");
      const { jobs } = await bed.client(JobService, secret).listJobs({ pageSize: 500 });
      return Object.entries(jobOf).flatMap(([owner, id]) =>
        jobs.some((job) => job.id === id) ? [owner] : [],
      );
    };
    expect(await seen("the owner with that scope only")).to.deep.equal(["ann"]);
    expect(await seen("another owner with that scope")).to.deep.equal(["bob"]);
    expect(await seen("admin:owners and that scope")).to.deep.equal(["ann", "bob"]);
    expect(await seen("the owner's token")).to.deep.equal(["ann", "bob"]);
  });

  it("lists the caller's own tokens, and all to admin:owners", async () => {
    const kinds = await callers.all("read:tokens");
    const owners = async (kind: string) => {
      const secret = kinds[kind]?.authorization.replace("Bearer ", "");
      const { tokens } = await bed.client(TokenService, secret).listTokens({});
      return [...new Set(tokens.map(({ owner }) => owner))].sort();
    };
    expect(await owners("the owner with that scope only")).to.deep.equal(["ann"]);
    expect(await owners("another owner with that scope")).to.deep.equal(["bob"]);
    expect(await owners("admin:owners and that scope")).to.include.members(["ann", "bob", "owner"]);
  });
});

const missingId = "job_00000000000000000000000000";

/** Makes what an owned method may be asked for; answers its id. */
async function resource(bed: Bed, method: DescMethod, owner: string): Promise<string> {
  const tokens = bed.client(TokenService);
  const scopes = ["write:jobs"];
  const { token, secret } = await tokens.createToken({ name: "maker", owner, scopes });
  if (method.parent === TokenService) return token?.id ?? "";
  const { jobId } = await bed.client(JobService, secret).createJob({ spec: trueSpec });
  return jobId;
}

const transports = {
  Connect: (baseUrl: string, authorization: string) =>
    createConnectTransport({ baseUrl, httpVersion: "1.1", interceptors: shows(authorization) }),
  gRPC: (baseUrl: string, authorization: string) =>
    createGrpcTransport({ baseUrl, interceptors: shows(authorization) }),
};

function shows(authorization: string): Interceptor[] {
  return [
    (next) => (req) => {
      if (authorization !== "") req.header.set("authorization", encodable(authorization));
      return next(req);
    },
  ];
}

/** Header values are bytes: what is more than that is sent as UTF-8. */
function encodable(text: string): string {
  return Buffer.from(text).toString("latin1");
}

/** Calls a method with the least there is to say; of a stream, up to its first message. */
async function call(transport: Transport, method: DescMethod, id: string): Promise<Answer> {
  // A request that is no good in itself is refused before its owner is asked for.
  const more = method === JobService.method.answerJob ? { answer: { questionSeq: 1 } } : {};
  const message: Message = create(method.input, id === "" ? {} : { id, ...more });
  const abort = new AbortController();
  try {
    if (method.methodKind === "unary") {
      await transport.unary(method as never, abort.signal, 20_000, undefined, message as never);
    } else {
      const input = (async function* () {
        yield message;
      })();
      const res = await transport.stream(
        ...([method as never, abort.signal, 20_000, undefined, input as never] as const),
      );
      await res.message[Symbol.asyncIterator]().next();
    }
    return { reason: "ok", text: "" };
  } catch (error) {
    const { reason, message: text } = toDevmeshError(error);
    return { reason, text };
  } finally {
    abort.abort();
  }
}
