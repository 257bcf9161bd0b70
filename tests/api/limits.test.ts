/** Who calls too often is told when to come back, on every protocol; nobody else notices. */
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport } from "@connectrpc/connect-node";
import { JobService } from "@devmesh/gen/devmesh/api/v1/job_service_pb";
import { RunnerService } from "@devmesh/gen/devmesh/api/v1/runner_service_pb";
import { SystemService } from "@devmesh/gen/devmesh/api/v1/system_service_pb";
import { TokenService } from "@devmesh/gen/devmesh/api/v1/token_service_pb";
import { RetryInfoSchema } from "@devmesh/gen/google/rpc/error_details_pb";
import { toDevmeshError } from "@devmesh/mesh/errors";
import { bearerInterceptor } from "@devmesh/mesh/interceptors";
import { expect } from "chai";
import { Bed, reasonOf } from "./bed.ts";

describe("rate limits", () => {
  let bed: Bed;
  afterEach(() => bed.close());

  const countOk = async (calls: number, call: () => Promise<unknown>) => {
    let count = 0;
    for (let i = 0; i < calls; i++) if ((await reasonOf(call())) === "ok") count += 1;
    return count;
  };

  it("are none by default", async () => {
    bed = await Bed.open();
    expect(await countOk(300, () => bed.client(SystemService).getSettings({}))).to.equal(300);
  });

  it("hold each token by itself, and change without a restart", async () => {
    bed = await Bed.open({ config: { rateLimit: { perSecond: 1, burst: 3 } } });
    const system = bed.client(SystemService);
    expect(await countOk(5, () => system.getSettings({}))).to.equal(3);
    bed.clock.advance(1_000);
    const { secret } = await bed
      .client(TokenService)
      .createToken({ name: "x", scopes: ["read:system"] });
    const other = bed.client(SystemService, secret);
    expect(await countOk(5, () => other.getSettings({}))).to.equal(3);
    bed.clock.advance(1_000);
    await system.updateSettings({ settings: { tokenRate: { perSecond: 0 } } });
    expect(await countOk(50, () => other.getSettings({}))).to.equal(50);
  });

  it("hold one method alone", async () => {
    bed = await Bed.open();
    const system = bed.client(SystemService);
    const methodRates = { "SystemService.GetSettings": { perSecond: 0.5, burst: 2 } };
    await system.updateSettings({ settings: { methodRates } });
    expect(await countOk(5, () => system.getSettings({}))).to.equal(2);
    expect(await countOk(5, () => system.getSystem({}))).to.equal(5);
    const error = toDevmeshError(await system.getSettings({}).catch((e: unknown) => e));
    expect(error.message).to.include("SystemService.GetSettings");
    expect(error.retryAfterMs).to.equal(2_000);
    await system.updateSettings({
      settings: { methodRates: { "SystemService.GetSettings": { perSecond: 0 } } },
    });
    expect(await countOk(5, () => system.getSettings({}))).to.equal(5);
  });

  it("lock nobody out of the settings that made them", async () => {
    bed = await Bed.open();
    const system = bed.client(SystemService);
    const least = { perSecond: 1e-9, burst: 1 };
    const methodRates = { "SystemService.UpdateSettings": least };
    await system.updateSettings({ settings: { tokenRate: least, methodRates } });
    expect(await countOk(3, () => system.getSystem({}))).to.equal(1);
    expect(await reasonOf(system.updateSettings({ settings: { logLevel: "info" } }))).to.equal(
      "ok",
    );
    await system.updateSettings({ settings: {}, reset: ["token_rate", "method_rates"] });
    expect(await countOk(3, () => system.getSystem({}))).to.equal(3);
  });

  it("leave the deployment's services and its runners alone", async () => {
    bed = await Bed.open({ config: { rateLimit: { perSecond: 0.01, burst: 1 } } });
    const service = bed.client(SystemService, "the-services-secret");
    expect(await countOk(20, () => service.getSettings({}))).to.equal(20);
    const runners = bed.client(RunnerService);
    const beat = () => runners.heartbeat({ runnerId: "r" });
    const reasons = new Set<string>();
    for (let i = 0; i < 20; i++) reasons.add(await reasonOf(beat()));
    expect([...reasons]).to.not.include("RATE_LIMITED");
  });

  it("tell the wait in the words of each protocol", async () => {
    bed = await Bed.open({ config: { rateLimit: { perSecond: 0.5, burst: 1 } } });
    const baseUrl = await bed.url();
    expect(await reasonOf(bed.client(SystemService).getSettings({}))).to.equal("ok");
    const authorization = `Bearer ${bed.ownerSecret}`;
    const rest = await fetch(`${baseUrl}/v1/settings`, { headers: { authorization } });
    expect(rest.status).to.equal(429);
    expect(rest.headers.get("retry-after")).to.equal("2");
    expect(await rest.json()).to.include({ reason: "RATE_LIMITED", retryable: true });
    const interceptors = [bearerInterceptor(bed.ownerSecret)];
    for (const transport of [
      createConnectTransport({ baseUrl, httpVersion: "1.1", interceptors }),
      createGrpcTransport({ baseUrl, interceptors }),
    ]) {
      const error = await createClient(SystemService, transport)
        .getSettings({})
        .catch((e: unknown) => e);
      expect(error)
        .to.be.instanceOf(ConnectError)
        .and.to.have.property("code", Code.ResourceExhausted);
      const [info] = (error as ConnectError).findDetails(RetryInfoSchema);
      expect(info?.retryDelay?.seconds).to.equal(2n);
      const watch = createClient(JobService, transport).watchJob({ id: "job_x" });
      const stream = watch[Symbol.asyncIterator]();
      expect(await reasonOf(stream.next())).to.equal("RATE_LIMITED");
    }
    const connect = await fetch(`${baseUrl}/devmesh.api.v1.SystemService/GetSettings`, {
      method: "POST",
      headers: { authorization, "content-type": "application/json" },
      body: "{}",
    });
    expect(connect.status).to.equal(429);
  });
});

describe("callers without a good token", () => {
  let bed: Bed;
  afterEach(() => bed.close());

  const get = async (token: string) => {
    const headers = { authorization: `Bearer ${token}` };
    const res = await fetch(`${await bed.url()}/v1/settings`, token === "" ? {} : { headers });
    await res.text();
    return res.status;
  };

  it("are slowed down by address, and those with a good one are not", async () => {
    bed = await Bed.open({ config: { anonymousRateLimit: { perSecond: 1, burst: 5 } } });
    // One bad token, so that this address is looked at; then a good one is remembered.
    expect(await get("dm_wrong")).to.equal(401);
    expect(await get(bed.ownerSecret)).to.equal(200);
    const tried = [];
    for (let i = 0; i < 8; i++) tried.push(await get(`dm_guess${i}`));
    expect(tried).to.deep.equal([401, 401, 401, 401, 429, 429, 429, 429]);
    expect(await get("")).to.equal(429);
    expect(await get(bed.ownerSecret)).to.equal(200);
    bed.clock.advance(1_000);
    expect(await get("")).to.equal(401);
    expect(await get("dm_more")).to.equal(429);
    // A good token that nobody has seen waits its turn, and then passes.
    const { secret } = await bed
      .client(TokenService)
      .createToken({ name: "x", scopes: ["read:system"] });
    expect(await get(secret)).to.equal(429);
    bed.clock.advance(1_000);
    expect(await get(secret)).to.equal(200);
    expect(await get(secret)).to.equal(200);
  });

  it("are asked no store for while they are refused", async () => {
    bed = await Bed.open({ config: { anonymousRateLimit: { perSecond: 1, burst: 2 } } });
    const statuses = [];
    for (let i = 0; i < 4; i++) {
      const res = await fetch(`${await bed.url()}/v1/console-links:redeem`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ secret: `dml_guess${i}` }),
      });
      await res.text();
      statuses.push(res.status);
    }
    expect(statuses).to.deep.equal([401, 401, 429, 429]);
  });

  it("send small bodies only: nobody knows them", async () => {
    bed = await Bed.open();
    const secret = `dml_${"x".repeat(100_000)}`;
    for (const path of [
      "/v1/console-links:redeem",
      "/devmesh.api.v1.TokenService/RedeemConsoleLink",
    ]) {
      const res = await fetch(`${await bed.url()}${path}`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ secret }),
      });
      expect(res.status, path).to.be.oneOf([413, 429]);
      expect(await res.text()).to.match(/TOO_LARGE|too_large|65536/);
    }
  });

  it("may try as often as they like where the limit is switched off", async () => {
    bed = await Bed.open({ config: { anonymousRateLimit: undefined } });
    for (let i = 0; i < 50; i++) expect(await get(`dm_guess${i}`)).to.equal(401);
  });
});
