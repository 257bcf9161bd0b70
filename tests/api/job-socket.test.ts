/** The WebSocket stream over a real port: frames, refusals, and addresses that are none. */
import { create } from "@bufbuild/protobuf";
import { AgentSchema } from "@devmesh/gen/devmesh/api/v1/agent_pb";
import { Isolation } from "@devmesh/gen/devmesh/api/v1/isolation_pb";
import { LogStream } from "@devmesh/gen/devmesh/api/v1/job_event_pb";
import { JobService } from "@devmesh/gen/devmesh/api/v1/job_service_pb";
import { JobStatus } from "@devmesh/gen/devmesh/api/v1/job_status_pb";
import { RunnerService } from "@devmesh/gen/devmesh/api/v1/runner_service_pb";
import { SystemClock } from "@devmesh/mesh/runtime";
import { expect } from "chai";
import { WebSocket } from "ws";
import { openRaw } from "../wire/raw-socket.ts";
import { refusedSocket } from "../wire/socket-refusal.ts";
import { Bed, trueSpec } from "./bed.ts";

interface Frame {
  readonly type: string;
  readonly ts: string;
  readonly payload: Record<string, unknown>;
}

/** What a socket gets until it is closed. */
interface Talk {
  readonly frames: Frame[];
  readonly code: number;
  readonly reason: string;
}

describe("job socket", () => {
  let bed: Bed;
  beforeEach(async () => {
    bed = await Bed.open();
  });
  afterEach(() => bed.close());

  async function open(path: string, protocols: string[] = [], headers = {}): Promise<WebSocket> {
    const socket = new WebSocket(`ws://127.0.0.1:${await bed.listen()}${path}`, protocols, {
      headers,
    });
    socket.on("error", () => {});
    return socket;
  }

  async function talk(path: string, secret = bed.ownerSecret): Promise<Talk> {
    const socket = await open(path, ["devmesh.v1", `bearer.${secret}`]);
    return listen(socket);
  }

  function listen(socket: WebSocket): Promise<Talk> {
    const frames: Frame[] = [];
    socket.on("message", (data) => frames.push(JSON.parse(String(data))));
    return new Promise((resolve) => {
      socket.on("close", (code, reason) => resolve({ frames, code, reason: String(reason) }));
    });
  }

  async function cancelled(): Promise<string> {
    const jobs = bed.client(JobService);
    const { jobId } = await jobs.createJob({ spec: trueSpec });
    await jobs.cancelJob({ id: jobId, detail: "enough" });
    return jobId;
  }

  it("tells every event of a job, and closes with its end", async () => {
    const { frames, code } = await talk(`/v1/stream/${await cancelled()}`);
    expect(code).to.equal(1000);
    expect(frames.map(({ type, payload }) => [type, payload.seq])).to.deep.equal([
      ["status", 1],
      ["result", 2],
    ]);
    expect(frames[1]?.payload).to.deep.include({ reason: "CANCELLED", message: "enough" });
    for (const { ts } of frames) expect(new Date(ts).toISOString()).to.equal(ts);
  });

  it("starts where it is asked to", async () => {
    const { frames } = await talk(`/v1/stream/${await cancelled()}?from=2`);
    expect(frames.map(({ payload }) => payload.seq)).to.deep.equal([2]);
  });

  it("tells output as it comes, as text or as bytes", async () => {
    const jobs = bed.client(JobService);
    const runners = bed.client(RunnerService);
    const capabilities = [{ driver: "d", isolation: Isolation.PROCESS, available: true }];
    const about = { id: "run_1", host: "h", version: "0", capacity: 1, capabilities };
    await runners.registerRunner({ runner: create(AgentSchema, about) });
    const { jobId } = await jobs.createJob({ spec: trueSpec });
    const isolations = [Isolation.PROCESS];
    const { leases } = await runners.leaseJobs({ runnerId: "run_1", maxJobs: 1, isolations });
    const lease = { jobId, epoch: leases[0]?.epoch ?? 0 };
    const socket = await open(`/v1/stream/${jobId}?from=3`, [
      "devmesh.v1",
      `bearer.${bed.ownerSecret}`,
    ]);
    const all = listen(socket);
    await new Promise((resolve) => socket.once("open", resolve));
    const log = (seq: number, stream: LogStream, data: Uint8Array) => ({
      seq,
      kind: { case: "log" as const, value: { stream, data } },
    });
    await runners.appendEvents({
      lease,
      events: [
        log(3, LogStream.STDOUT, Buffer.from("héllo")),
        log(4, LogStream.STDERR, Buffer.from([0xff])),
      ],
    });
    await runners.finishJob({ lease, seq: 5, result: { outcome: JobStatus.SUCCEEDED } });
    const { frames } = await all;
    expect(frames.map(({ payload }) => payload).slice(0, 2)).to.deep.equal([
      { seq: 3, stream: "stdout", text: "héllo" },
      { seq: 4, stream: "stderr", dataBase64: "/w==" },
    ]);
  });

  it("takes a token from the Authorization header too", async () => {
    const headers = { authorization: `Bearer ${bed.ownerSecret}` };
    const socket = await open(`/v1/stream/${await cancelled()}`, [], headers);
    expect((await listen(socket)).code).to.equal(1000);
  });

  it("opens where no event is yet, and tells those that come", async () => {
    const { jobId } = await bed.client(JobService).createJob({ spec: trueSpec });
    const protocols = ["devmesh.v1", `bearer.${bed.ownerSecret}`];
    const socket = await open(`/v1/stream/${jobId}?from=2`, protocols);
    const all = listen(socket);
    await new Promise((resolve) => socket.once("open", resolve));
    await bed.client(JobService).cancelJob({ id: jobId });
    expect((await all).frames.map(({ payload }) => payload.seq)).to.deep.equal([2]);
  });

  it("reads an id with escapes, and cuts a message that is too large", async () => {
    const id = await cancelled();
    expect((await talk(`/v1/stream/${id.replace("_", "%5F")}`)).code).to.equal(1000);
    const { jobId } = await bed.client(JobService).createJob({ spec: trueSpec });
    const socket = await open(`/v1/stream/${jobId}`, ["devmesh.v1", `bearer.${bed.ownerSecret}`]);
    const ended = listen(socket);
    socket.once("open", () => socket.send("x".repeat(5_000)));
    expect((await ended).code).to.equal(1009);
  });

  describe("refusals, before the upgrade", () => {
    const bearer = () => ({ "sec-websocket-protocol": `devmesh.v1, bearer.${bed.ownerSecret}` });

    async function refusal(path: string, headers = {}, method = "GET") {
      const refused = await refusedSocket(`${await bed.url()}${path}`, headers, method);
      expect(refused.headers["content-type"]).to.equal("application/problem+json");
      expect(refused.headers["x-request-id"]).to.equal(refused.problem.requestId);
      expect(refused.problem.requestId).to.match(/^req_/);
      expect(refused.problem.status).to.equal(refused.status);
      return refused;
    }

    it("a bad token and none: 401, however it is shown", async () => {
      const id = await cancelled();
      for (const headers of [
        {},
        { authorization: "Bearer dm_wrong" },
        { "sec-websocket-protocol": "devmesh.v1, bearer.dm_wrong" },
        { "sec-websocket-protocol": "bearer.x" },
      ]) {
        const { status, problem, headers: got } = await refusal(`/v1/stream/${id}`, headers);
        expect([status, problem.reason]).to.deep.equal([401, "UNAUTHENTICATED"]);
        expect(got["www-authenticate"]).to.equal("Bearer");
      }
    });

    it("a job that is not there: 404 that names it", async () => {
      const { status, problem } = await refusal("/v1/stream/job_0", bearer());
      expect([status, problem.reason]).to.deep.equal([404, "NOT_FOUND"]);
      expect(problem.metadata).to.deep.equal({ resource: "job", id: "job_0" });
    });

    for (const path of ["//", "/", "/v1/stream/", "/v1/stream/a/b", "/v1/stream/%", "/v1/jobs"]) {
      it(`there is nothing at ${path}`, async () => {
        const { status, problem } = await refusal(path, bearer());
        expect([status, problem.reason]).to.deep.equal([404, "NO_SUCH_ROUTE"]);
      });
    }

    for (const from of ["-1", "x", "1.5", "0x10", "1e3", " 1", "", "4294967296", "99999999999"]) {
      it(`${JSON.stringify(from)} is no number to start at`, async () => {
        const path = `/v1/stream/${await cancelled()}?from=${encodeURIComponent(from)}`;
        const { status, problem } = await refusal(path, bearer());
        expect([status, problem.reason]).to.deep.equal([400, "INVALID_FIELD"]);
        expect(problem.metadata).to.deep.equal({ field: "from" });
      });
    }

    it("a parameter that there is not: 400 that names it", async () => {
      const { status, problem } = await refusal(
        `/v1/stream/${await cancelled()}?bogus=1`,
        bearer(),
      );
      expect([status, problem.metadata.field]).to.deep.equal([400, "bogus"]);
    });

    for (const [header, value] of [
      ["Sec-WebSocket-Version", "7"],
      ["Sec-WebSocket-Key", "x"],
      ["Sec-WebSocket-Protocol", "a,,b"],
      ["Sec-WebSocket-Protocol", "a, a"],
    ] as const) {
      it(`${header}: ${value}: 400 that names the header`, async () => {
        const path = `/v1/stream/${await cancelled()}`;
        const { status, problem } = await refusal(path, { [header.toLowerCase()]: value });
        expect([status, problem.metadata.field]).to.deep.equal([400, header]);
      });
    }

    it("another method than GET: 405", async () => {
      const { status, headers } = await refusal("/v1/stream/job_0", bearer(), "POST");
      expect([status, headers.allow]).to.deep.equal([405, "GET, HEAD"]);
    });

    it("no upgrade at all: 426 that says to what", async () => {
      const res = await fetch(`${await bed.url()}/v1/stream/job_0`);
      expect([res.status, res.headers.get("upgrade")]).to.deep.equal([426, "websocket"]);
      expect(await res.json()).to.include({ reason: "UPGRADE_REQUIRED" });
    });

    it("an upgrade to something else is passed over", async () => {
      const headers = { upgrade: "h2c", "http2-settings": "AAMAAABkAAQCAAAAAAIAAAAA" };
      const { status } = await refusal("/v1/jobs", headers);
      expect(status).to.equal(401);
    });

    it("what is no address: 404, and the server stays up", async () => {
      for (const target of ["*", "http://"]) {
        const raw = await openRaw(await bed.listen());
        const upgrade = "Connection: Upgrade\r\nUpgrade: websocket";
        raw.socket.write(`GET ${target} HTTP/1.1\r\nHost: x\r\n${upgrade}\r\n\r\n`);
        expect(await raw.closed()).to.match(/^HTTP\/1\.1 404 /);
      }
      expect((await fetch(`${await bed.url()}/livez`)).status).to.equal(200);
    });
  });

  it("cuts off a peer that answers no pings, and shows the others that it lives", async () => {
    await bed.close();
    bed = await Bed.open({ config: { wsPingIntervalMs: 100 }, clock: new SystemClock() });
    const { jobId } = await bed.client(JobService).createJob({ spec: trueSpec });
    const path = `/v1/stream/${jobId}`;
    const url = `ws://127.0.0.1:${await bed.listen()}${path}`;
    const protocols = ["devmesh.v1", `bearer.${bed.ownerSecret}`];
    const deaf = new WebSocket(url, protocols, { autoPong: false });
    deaf.on("error", () => {});
    const alive = await open(path, protocols);
    const beats = new Promise<void>((resolve) => {
      let count = 0;
      alive.on("message", (data) => {
        if (JSON.parse(String(data)).type === "heartbeat") count += 1;
        if (count === 4) resolve();
      });
    });
    expect((await listen(deaf)).code).to.equal(1006);
    await beats;
    expect(alive.readyState).to.equal(WebSocket.OPEN);
    alive.terminate();
  });
});
