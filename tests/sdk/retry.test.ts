/** Which calls are tried again, how often, and what ends the waiting. */

import { once } from "node:events";
import { createServer } from "node:net";
import { createRouterTransport } from "@connectrpc/connect";
import { DevmeshError } from "@devmesh/mesh/errors";
import { createDevmesh, type RetryPolicy } from "@devmesh/sdk";
import { expect } from "chai";
import { FakeDevmesh, ownerSecret } from "./fake/fake-devmesh.ts";

const unavailable = () => new DevmeshError("UNAVAILABLE", "not now");

function open(retry: Partial<RetryPolicy> = {}) {
  const fake = new FakeDevmesh();
  const { interceptors } = fake;
  const devmesh = createDevmesh({
    baseUrl: "http://localhost",
    token: ownerSecret,
    retry: { baseDelayMs: 1, maxDelayMs: 2, ...retry },
    transport: (setup) =>
      createRouterTransport(fake.routes, {
        router: { interceptors },
        transport: { interceptors: setup.interceptors },
      }),
  });
  const callsOf = (method: string) => fake.log.filter((call) => call.method === method).length;
  return { fake, devmesh, callsOf };
}

describe("sdk retries", () => {
  it("tries a read again, up to the policy", async () => {
    const { fake, devmesh, callsOf } = open({ maxRetries: 2 });
    for (let i = 0; i < 2; i++) fake.faults.failNext("ListAgents", unavailable());
    expect(await devmesh.agents.list()).to.have.length(1);
    expect(callsOf("ListAgents")).to.equal(3);
    for (let i = 0; i < 3; i++) fake.faults.failNext("ListAgents", unavailable());
    expect(await devmesh.agents.list().catch((e: unknown) => e)).to.include({
      reason: "UNAVAILABLE",
    });
    expect(callsOf("ListAgents")).to.equal(6);
  });

  it("does not try again what is not safe to repeat", async () => {
    const { fake, devmesh, callsOf } = open();
    fake.faults.failNext("Infer", unavailable());
    const error = await devmesh.llm.infer({ input: "x" }).catch((e: unknown) => e);
    expect(error).to.include({ reason: "UNAVAILABLE" });
    expect(callsOf("Infer")).to.equal(1);
    fake.faults.failNext("CreateToken", unavailable());
    await devmesh.tokens.create({ name: "x", scopes: ["read:jobs"] }).catch((e: unknown) => e);
    expect(callsOf("CreateToken")).to.equal(1);
  });

  it("does not try again what would fail again", async () => {
    const { devmesh, callsOf } = open();
    await devmesh.jobs.get("nope").catch((e: unknown) => e);
    expect(callsOf("GetJob")).to.equal(1);
  });

  it("carries one idempotency key through all tries", async () => {
    const { fake, devmesh, callsOf } = open();
    fake.faults.loseAnswers = 1;
    await devmesh.jobs.create({ command: ["echo"] });
    expect(callsOf("CreateJob")).to.equal(2);
    expect(fake.jobs.all()).to.have.length(1);
    await devmesh.jobs.create({ command: ["echo"] });
    expect(fake.jobs.all()).to.have.length(2);
  });

  it("gives up at once where the server wants a longer wait than allowed", async () => {
    const { fake, devmesh, callsOf } = open({ maxRetryAfterMs: 1_000 });
    const limited = new DevmeshError("RATE_LIMITED", "too many", { retryAfterMs: 60_000 });
    fake.faults.failNext("ListAgents", limited);
    const error = await devmesh.agents.list().catch((e: unknown) => e);
    expect(error).to.include({ reason: "RATE_LIMITED", retryAfterMs: 60_000, retryable: true });
    expect(callsOf("ListAgents")).to.equal(1);
  });

  it("ends a wait before a retry on an abort", async () => {
    const { fake, devmesh } = open({ baseDelayMs: 600_000, maxDelayMs: 600_000, random: () => 1 });
    fake.faults.failNext("ListAgents", unavailable());
    const abort = new AbortController();
    const call = devmesh.agents.list({ signal: abort.signal, timeoutMs: 0 });
    setImmediate(() => abort.abort());
    expect(await call.catch((e: unknown) => e)).to.include({ reason: "CANCELLED" });
  });

  it("does not start a wait that the deadline would cut", async () => {
    const { fake, devmesh, callsOf } = open({ baseDelayMs: 1e6, maxDelayMs: 1e6, random: () => 1 });
    fake.faults.failNext("ListAgents", unavailable());
    const error = await devmesh.agents.list({ timeoutMs: 5_000 }).catch((e: unknown) => e);
    expect(error).to.include({ reason: "UNAVAILABLE" });
    expect(callsOf("ListAgents")).to.equal(1);
  });

  it("keeps one deadline over all tries", async () => {
    const { fake, devmesh } = open();
    fake.faults.silence("ListAgents");
    const error = await devmesh.agents.list({ timeoutMs: 30 }).catch((e: unknown) => e);
    expect(error).to.include({ reason: "DEADLINE_EXCEEDED" });
  });

  it("tells a server that nobody runs as UNAVAILABLE", async () => {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const address = server.address();
    const port = typeof address === "object" ? address?.port : 0;
    server.close();
    await once(server, "close");
    const devmesh = createDevmesh({
      baseUrl: `http://127.0.0.1:${port}`,
      retry: { maxRetries: 1, baseDelayMs: 1 },
    });
    const error = await devmesh.system.get().catch((e: unknown) => e);
    expect(error).to.include({ reason: "UNAVAILABLE", fromServer: false, requestId: "" });
    expect(String(error)).to.include("could not be reached");
  });
});
