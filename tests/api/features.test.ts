/** Modules that are switched off refuse on every protocol, and serve again without a restart. */
import { createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport } from "@connectrpc/connect-node";
import { ContextService } from "@devmesh/gen/devmesh/api/v1/context_service_pb";
import { InferService } from "@devmesh/gen/devmesh/api/v1/infer_service_pb";
import { Isolation } from "@devmesh/gen/devmesh/api/v1/isolation_pb";
import { JobService } from "@devmesh/gen/devmesh/api/v1/job_service_pb";
import { SystemService } from "@devmesh/gen/devmesh/api/v1/system_service_pb";
import { ChatService } from "@devmesh/gen/devmesh/inference/v1/chat_service_pb";
import { toDevmeshError } from "@devmesh/mesh/errors";
import { bearerInterceptor } from "@devmesh/mesh/interceptors";
import { expect } from "chai";
import { Bed, reasonOf, trueSpec } from "./bed.ts";

const agentSpec = { work: { case: "agent" as const, value: { task: "do it" } } };
const vmSpec = { ...trueSpec, isolation: Isolation.VM };

describe("feature flags", () => {
  let bed: Bed;
  beforeEach(async () => {
    const answer = { message: { role: "assistant", content: "yes" }, finishReason: "stop" };
    bed = await Bed.open({ chat: { chat: async () => answer } });
  });
  afterEach(() => bed.close());

  const turn = (features: Record<string, boolean>) =>
    bed.client(SystemService).updateSettings({ settings: { features } });

  it("switch the models off on every way in, and on again", async () => {
    const baseUrl = await bed.url();
    const interceptors = [bearerInterceptor(bed.ownerSecret)];
    const headers = {
      authorization: `Bearer ${bed.ownerSecret}`,
      "content-type": "application/json",
    };
    const post = async (path: string, body: object) => {
      const res = await fetch(`${baseUrl}${path}`, {
        method: "POST",
        headers,
        body: JSON.stringify(body),
      });
      const text = await res.text();
      return { status: res.status, text };
    };
    const messages = [{ role: "user", content: "hi" }];
    const transports = [
      createConnectTransport({ baseUrl, httpVersion: "1.1", interceptors }),
      createGrpcTransport({ baseUrl, interceptors }),
    ];
    const outcomes = async () => {
      const rest = await post("/v1/llm/infer", { input: "hi" });
      const dialect = await post("/v1/chat/completions", { messages });
      const reasons = transports.flatMap((transport) => [
        reasonOf(createClient(InferService, transport).infer({ input: "hi" })),
        reasonOf(createClient(ChatService, transport).chat({ messages })),
        reasonOf(
          streamed(createClient(ChatService, transport).streamChat({ request: { messages } })),
        ),
      ]);
      return [
        rest.status,
        dialect.status,
        ...(await Promise.all(reasons)),
        rest.text,
        dialect.text,
      ];
    };
    await turn({ infer: false });
    const off = await outcomes();
    expect(off.slice(0, 2)).to.deep.equal([412, 412]);
    expect(new Set(off.slice(2, 8))).to.deep.equal(new Set(["FEATURE_DISABLED"]));
    expect(JSON.parse(String(off[8]))).to.deep.include({
      reason: "FEATURE_DISABLED",
      metadata: { feature: "infer" },
    });
    expect(off[9]).to.include('"code":"feature_disabled"');
    await turn({ infer: true });
    const on = await outcomes();
    expect(on.slice(0, 2)).to.deep.equal([200, 200]);
    expect(on[2]).to.equal("ok");
    expect(on[3]).to.equal("ok");
  });

  it("switch the context plane off, and nothing else", async () => {
    await turn({ context: false });
    const context = bed.client(ContextService);
    for (const call of [
      context.searchContext({ q: "x" }),
      context.buildContextPack({ task: "x", budgetTokens: 100 }),
      context.ingestContext({ documents: [{ source: "a", text: "b" }] }),
    ]) {
      expect(await reasonOf(call)).to.equal("FEATURE_DISABLED");
    }
    expect(await reasonOf(bed.client(InferService).infer({ input: "x" }))).to.equal("ok");
    expect(await reasonOf(bed.client(JobService).createJob({ spec: trueSpec }))).to.equal("ok");
  });

  it("tell nobody who may not call which modules there are", async () => {
    await turn({ infer: false });
    expect(await reasonOf(bed.client(InferService, "").infer({ input: "x" }))).to.equal(
      "UNAUTHENTICATED",
    );
  });

  it("refuse agents' jobs, and jobs in virtual machines, alone", async () => {
    const jobs = bed.client(JobService);
    const { jobId } = await jobs.createJob({ spec: agentSpec });
    await turn({ agents: false });
    const refused = await jobs.createJob({ spec: agentSpec }).catch((e: unknown) => e);
    expect(toDevmeshError(refused)).to.deep.include({
      reason: "FEATURE_DISABLED",
      metadata: { feature: "agents" },
    });
    expect(await reasonOf(jobs.createJob({ spec: trueSpec }))).to.equal("ok");
    await turn({ agents: true, vms: false });
    expect(await reasonOf(jobs.createJob({ spec: agentSpec }))).to.equal("ok");
    expect(await reasonOf(jobs.createJob({ spec: vmSpec }))).to.equal("FEATURE_DISABLED");
    // What was accepted before is still there, and is cancelled as ever.
    expect(await reasonOf(jobs.cancelJob({ id: jobId, detail: "" }))).to.equal("ok");
    await turn({ vms: true });
    expect(await reasonOf(jobs.createJob({ spec: vmSpec }))).to.equal("ok");
  });

  it("may start switched off", async () => {
    const off = await Bed.open({ config: { features: { infer: false, context: true } } });
    expect(await reasonOf(off.client(InferService).infer({ input: "x" }))).to.equal(
      "FEATURE_DISABLED",
    );
    await off.close();
  });
});

async function streamed(messages: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of messages) return;
}
