import { createContextValues } from "@connectrpc/connect";
import { kPrincipal } from "@devmesh/mesh/context";
import { DevmeshError, toDevmeshError } from "@devmesh/mesh/errors";
import { expect } from "chai";
import { as, callBed } from "./call-bed.ts";

async function refusal(result: Promise<unknown>): Promise<DevmeshError> {
  return toDevmeshError(
    await result.then(
      () => expect.fail("it succeeded"),
      (error: unknown) => error,
    ),
  );
}

describe("a call through the whole chain", () => {
  it("leaves one log line and one audit row with actor, action and resource", async () => {
    const { sandboxes, lines, audited } = callBed();
    await sandboxes.deleteSandbox({ id: "sbx_1" }, as("runner"));
    const rpc = "devmesh.vm.v1.SandboxService/DeleteSandbox";
    expect(lines).to.have.length(1);
    expect(lines[0]).to.include({ level: "debug", rpc, actor: "runner", outcome: "ok" });
    expect(audited).to.deep.equal([
      {
        timeMs: 1_000,
        actor: "runner",
        action: "sandbox.delete",
        resource: "sbx_1",
        outcome: "ok",
        correlationId: "req_1",
      },
    ]);
  });

  it("is audited also when it is refused, with who was refused and why", async () => {
    const { sandboxes, lines, audited } = callBed();
    const cases = [
      [sandboxes.deleteSandbox({ id: "a" }), "anonymous", "UNAUTHENTICATED"],
      [sandboxes.deleteSandbox({ id: "a" }, as("stranger")), "anonymous", "UNAUTHENTICATED"],
      [sandboxes.deleteSandbox({ id: "a" }, as("reader")), "reader", "SCOPE_MISSING"],
      [sandboxes.deleteSandbox({ id: "" }, as("runner")), "runner", "INVALID_FIELD"],
    ] as const;
    for (const [call, , reason] of cases) expect((await refusal(call)).reason).to.equal(reason);
    const rows = audited.map(({ actor, outcome }) => [actor, outcome]);
    expect(rows).to.deep.equal(cases.map(([, actor, reason]) => [actor, reason]));
    expect(lines.map(({ level, outcome }) => [level, outcome])).to.deep.equal(
      cases.map(([, , reason]) => ["info", reason]),
    );
  });

  it("leaves no audit row when it only reads, or is one of the frequent ones", async () => {
    const { sandboxes, runners, lines, audited } = callBed();
    await sandboxes.listSandboxes({}, as("reader"));
    await runners.heartbeat({ runnerId: "r" }, as("runner"));
    expect(lines.map(({ outcome }) => outcome)).to.deep.equal(["ok", "ok"]);
    expect(audited).to.deep.equal([]);
  });

  it("is open to everybody where the contract says so, and audited still", async () => {
    const { tokens, audited } = callBed();
    await tokens.redeemConsoleLink({ secret: "s3cret" });
    expect(audited.map(({ actor, action }) => [actor, action])).to.deep.equal([
      ["anonymous", "console_link.redeem"],
    ]);
  });

  it("refuses a bad token even where none is needed", async () => {
    const { tokens } = callBed();
    const call = tokens.redeemConsoleLink({ secret: "s3cret" }, as("stranger"));
    expect((await refusal(call)).reason).to.equal("UNAUTHENTICATED");
  });

  it("tells a caller without scope which one, and not whether the resource exists", async () => {
    const asked: string[] = [];
    const { sandboxes } = callBed({ deleteSandbox: (id) => void asked.push(id) });
    const error = await refusal(sandboxes.deleteSandbox({ id: "sbx_1" }, as("reader")));
    expect({ ...error.metadata }).to.deep.equal({ scope: "run:jobs" });
    expect(asked).to.deep.equal([]);
  });

  it("does not take a principal from its caller", async () => {
    const { sandboxes } = callBed();
    const scopes = new Set(["run:jobs"]);
    const trusted = { id: "x", owner: "x", scopes, jobId: "" };
    const contextValues = createContextValues().set(kPrincipal, trusted);
    const error = await refusal(sandboxes.deleteSandbox({ id: "sbx_1" }, { contextValues }));
    expect(error.reason).to.equal("UNAUTHENTICATED");
  });

  it("keeps the request id of its caller, and makes one where that is unfit", async () => {
    const { sandboxes, lines } = callBed();
    const fit = ["abc-1", "a.b:c_d", "x".repeat(128)];
    const unfit = ["", "a b", "x".repeat(129), 'a"b', "a/b"];
    for (const id of [...fit, ...unfit]) {
      let answered: string | null = null;
      const headers = { authorization: "Bearer reader", "x-request-id": id };
      const onHeader = (header: Headers) => {
        answered = header.get("x-request-id");
      };
      await sandboxes.listSandboxes({}, { headers, onHeader });
      expect(answered).to.equal(lines.at(-1)?.requestId);
      if (fit.includes(id)) expect(answered).to.equal(id);
      else expect(answered).to.match(/^req_\d+$/);
    }
  });

  it("hides a driver's text from the caller and keeps it for the log", async () => {
    const { sandboxes, lines } = callBed({
      deleteSandbox() {
        throw new Error("SQLITE_BUSY: database is locked");
      },
    });
    const error = await refusal(sandboxes.deleteSandbox({ id: "sbx_1" }, as("runner")));
    expect(error.reason).to.equal("INTERNAL");
    expect(error.message).to.not.include("SQLITE");
    expect(lines).to.have.length(1);
    expect(lines[0]).to.include({ level: "error", outcome: "INTERNAL", resource: "sbx_1" });
    expect(JSON.stringify(lines[0])).to.include("SQLITE_BUSY");
  });

  it("tells a handler that its caller left, and logs a cancel", async () => {
    const abort = new AbortController();
    let told: unknown;
    const { sandboxes, lines } = callBed({
      deleteSandbox: (_, signal) =>
        new Promise((_resolve, reject) => {
          signal.addEventListener("abort", () => {
            told = signal.reason;
            reject(signal.reason);
          });
          abort.abort();
        }),
    });
    const options = { ...as("runner"), signal: abort.signal };
    const error = await refusal(sandboxes.deleteSandbox({ id: "sbx_1" }, options));
    expect(error.reason).to.equal("CANCELLED");
    expect(toDevmeshError(told).reason).to.equal("CANCELLED");
    await new Promise(setImmediate);
    expect(lines.map(({ outcome }) => outcome)).to.deep.equal(["CANCELLED"]);
  });

  it("leaves a defect's text in the log, also where nothing lies below it", async () => {
    const { sandboxes, lines } = callBed({
      deleteSandbox() {
        throw new DevmeshError("INTERNAL", "two sandboxes have one id");
      },
    });
    await refusal(sandboxes.deleteSandbox({ id: "sbx_1" }, as("runner")));
    expect(JSON.stringify(lines)).to.include("two sandboxes have one id");
  });
});
