/** Bad requests: each refused in its own words, none harmful, nothing given away. */
import { once } from "node:events";
import { connect } from "node:net";
import { join } from "node:path";
import { expect } from "chai";
import { JobStatus } from "../../sdk/ts/src/node.ts";
import { type TempFolder, tempFolder } from "../sdk/temp-folder.ts";
import { refusedSocket } from "../wire/socket-refusal.ts";
import { type BadRow, badRows } from "./bad-input.rows.ts";
import { answer, question, writeScript } from "./script.ts";
import { startUp, type Up, untilRunner } from "./up.ts";
import { until } from "./wait.ts";
import { getJobByGrpc } from "./watchers.ts";

const secret = "sk-planted-0123456789abcdef";

interface Problem {
  readonly reason?: string;
  readonly status?: number;
  readonly metadata?: Record<string, string>;
  readonly code?: string;
  readonly message?: string;
  readonly details?: { readonly type: string; readonly value: string }[];
  readonly error?: { readonly code: string; readonly type: string; readonly param: string | null };
}

describe("bad requests", function () {
  this.timeout(60_000);
  let folder: TempFolder | undefined;
  let up: Up;

  before(async () => {
    folder = tempFolder();
    const env = {
      SCRIPTED_PATH: writeScript(folder.path),
      OLLAMA_BASE_URL: "http://127.0.0.1:9",
      CLOUD_API_KEYS: `anthropic=${secret}`,
    };
    up = await startUp({ dataDir: join(folder.path, "data"), env });
    await untilRunner(up);
  });
  after(async () => {
    await up?.stop();
    folder?.[Symbol.dispose]();
  });

  async function send(row: Omit<BadRow, "name" | "status" | "reason">, token = up.token) {
    const { path, body, raw = body === undefined ? undefined : JSON.stringify(body) } = row;
    const res = await fetch(`${up.url}${path}`, {
      method: row.verb ?? (raw === undefined ? "GET" : "POST"),
      headers: {
        ...(token !== "" && { authorization: `Bearer ${token}` }),
        "content-type": "application/json",
        ...row.headers,
      },
      ...(raw !== undefined && { body: raw }),
    });
    const text = await res.text();
    expectNothingGivenAway(text);
    return { status: res.status, type: res.headers.get("content-type"), problem: parse(text) };
  }

  function expectNothingGivenAway(text: string): void {
    for (const no of [secret, up.token, "node_modules", "    at ", ".ts:", folder?.path ?? "-"]) {
      expect(text).to.not.include(no);
    }
  }

  it("never takes a misspelt isolation for the default, by Connect either", async () => {
    const body = { spec: { command: { argv: ["true"] }, isolation: "ISOLATION_GVISO" } };
    const { status, problem } = await send({ path: "/devmesh.api.v1.JobService/CreateJob", body });
    expect(status).to.equal(400);
    expect(problem.message).to.include("ISOLATION_GVISO");
  });

  for (const row of badRows) {
    it(`refuses ${row.name}: ${row.reason}`, async () => {
      const { status, type, problem } = await send(row);
      expect(problem, JSON.stringify(problem)).to.include({ reason: row.reason });
      expect({ status, said: problem.status }).to.deep.equal({
        status: row.status,
        said: row.status,
      });
      expect(type).to.equal("application/problem+json");
      if (row.field !== undefined) expect(problem.metadata?.field).to.equal(row.field);
      if (row.rpc === undefined) return;
      const { method, message, code } = row.rpc;
      const wire = await send({ path: `/${method}`, body: message });
      expect(wire.problem.code, JSON.stringify(wire.problem)).to.equal(code);
    });
  }

  it("refuses a key that came with another request", async () => {
    const key = { path: "/v1/jobs", headers: { "idempotency-key": "bad-input" } };
    await send({ ...key, body: { command: { argv: ["true"] } } });
    const { status, problem } = await send({ ...key, body: { command: { argv: ["false"] } } });
    expect({ status, reason: problem.reason }).to.deep.equal({ status: 409, reason: "KEY_REUSED" });
  });

  it("names the remedy with an isolation that no runner gives", async () => {
    const body = { command: { argv: ["true"] }, isolation: "ISOLATION_VM" };
    const { problem } = await send({ path: "/v1/jobs", body });
    expect(problem.metadata?.isolation).to.equal("vm");
    expect(problem.metadata?.remedy).to.not.equal("");
  });

  it("refuses no token, an unknown, an altered and a half one alike", async () => {
    const altered = up.token.slice(0, -1) + (up.token.endsWith("A") ? "B" : "A");
    for (const token of ["", "dm_unknown", altered, "x", "dmj_x", "é"]) {
      const { status, problem } = await send({ path: "/v1/jobs" }, encodeURI(token));
      expect({ status, reason: problem.reason }, token).to.deep.equal({
        status: 401,
        reason: "UNAUTHENTICATED",
      });
    }
  });

  it("tells gRPC the same by code", async () => {
    const error = await getJobByGrpc({ ...up, id: "job_nobody" }).catch((e: unknown) => e);
    expect(error).to.include({ code: 5 });
    expectNothingGivenAway(String(error));
  });

  it("refuses each bad document for itself", async () => {
    const outcomes = await up.devmesh.context.ingest([
      { source: "good.md", text: "good" },
      { source: "../escape.md", text: "x" },
      { source: "/etc/passwd", text: "x" },
      { source: "a/../../b.md", text: "x" },
      { source: "binary.bin", text: "a\0b" },
    ]);
    expect(outcomes.map(({ state }) => state)).to.deep.equal([
      "added",
      ...Array(4).fill("refused"),
    ]);
    for (const { message } of outcomes.slice(1)) expect(message).to.match(/^(source|text): /);
  });

  it("ends a job in order whose program cannot be run", async () => {
    for (const command of [["no-such-program"], ["/etc/passwd"]]) {
      const { jobId } = await up.devmesh.jobs.create({ command });
      const { outcome, reason, message } = await up.devmesh.jobs.wait(jobId);
      expect(outcome).to.equal(JobStatus.FAILED);
      expect(reason, message).to.equal("COMMAND_NOT_FOUND");
      expectNothingGivenAway(message);
    }
  });

  it("ends a job in order whose workspace is no archive", async () => {
    const { sha256 } = await up.devmesh.blobs.put(Buffer.from("no archive at all"));
    const input = { command: ["true"], workspaceSha256: sha256 };
    const { jobId } = await up.devmesh.jobs.create(input);
    expect(await up.devmesh.jobs.wait(jobId)).to.include({
      outcome: JobStatus.FAILED,
      reason: "WORKSPACE_INVALID",
    });
  });

  it("refuses chats in the dialect's own shape", async () => {
    const path = "/v1/chat/completions";
    const message = { role: "user", content: "x" };
    const model = "scripted/ledger-replay";
    const rows: [Pick<BadRow, "body" | "raw">, number, string | null][] = [
      [{ raw: "{" }, 400, null],
      [{ body: [] }, 400, null],
      [{ body: { model } }, 400, "messages"],
      [{ body: { model, messages: "hello" } }, 400, "messages"],
      [{ body: { model, messages: [{ role: "judge", content: "x" }] } }, 400, "messages[0].role"],
      [{ body: { model, messages: [message], temperature: "hot" } }, 400, "temperature"],
      [{ body: { model, messages: [message], max_tokens: -1 } }, 400, "max_tokens"],
      [{ body: { model, messages: [message], max_tokens: 1.5 } }, 400, "max_tokens"],
      [{ body: { model, messages: [message], seed: 1e30 } }, 400, "seed"],
      [{ body: { model: "scripted/nobody", messages: [message] } }, 404, "model"],
      [{ body: { model: "ollama/any", messages: [message] } }, 503, null],
      [{ body: { model: "ollama/any", messages: [message], stream: true } }, 503, null],
    ];
    for (const [request, status, param] of rows) {
      const got = await send({ path, ...request });
      const told = JSON.stringify(got.problem);
      expect(got.status, `${JSON.stringify(request)}: ${told}`).to.equal(status);
      expect(got.problem.error, told).to.include.keys("message", "type", "code");
      expect(got.problem.error?.param, told).to.equal(param);
    }
    const body = { model, messages: [message] };
    expect((await send({ path, body }, "dm_unknown")).status).to.equal(401);
  });

  it("refuses streams of unknown jobs and from impossible numbers", async () => {
    const at = (path: string) => `${up.url.replace("http", "ws")}${path}`;
    const bearer = `bearer.${up.token}`;
    for (const [path, token, status, reason] of [
      ["/v1/stream/job_nobody", bearer, 404, "NOT_FOUND"],
      ["/v1/stream/job_nobody", "bearer.dm_unknown", 401, "UNAUTHENTICATED"],
      ["/v1/stream/job_nobody", "other", 401, "UNAUTHENTICATED"],
      ["/v1/stream/x?from=-1", bearer, 400, "INVALID_FIELD"],
      ["/v1/stream/x?from=y", bearer, 400, "INVALID_FIELD"],
      ["/v1/stream", bearer, 404, "NO_SUCH_ROUTE"],
      ["/v1/jobs", bearer, 404, "NO_SUCH_ROUTE"],
    ] as const) {
      const headers = { "sec-websocket-protocol": `devmesh.v1, ${token}` };
      const refused = await refusedSocket(at(path), headers);
      expect([refused.status, refused.problem.reason], path).to.deep.equal([status, reason]);
    }
  });

  it("survives what is no HTTP at all", async () => {
    const { hostname, port } = new URL(up.url);
    const upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    const socketHead = `${upgrade}Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${"A".repeat(22)}==\r\n`;
    for (const bytes of [
      "GET //[ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
      "GET http://[ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
      `GET //[ HTTP/1.1\r\nHost: x\r\n${socketHead}\r\n`,
      `GET http://[ HTTP/1.1\r\nHost: x\r\n${socketHead}\r\n`,
      "\x16\x03\x01\x02\x00",
      "GARBAGE\r\n\r\n",
      "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nxx",
    ]) {
      const socket = connect(Number(port), hostname);
      socket.on("error", () => {});
      socket.resume().end(bytes);
      await once(socket, "close");
    }
  });

  it("still works after all of this, and logged no secret", async () => {
    const { status, problem } = await send({ path: "/readyz" }, "");
    expect({ status, said: problem.status }).to.deep.equal({ status: 200, said: "ok" });
    const model = "scripted/ledger-replay";
    expect((await up.devmesh.llm.infer({ model, input: question })).text).to.equal(answer);
    const { jobId } = await up.devmesh.jobs.create({ command: ["true"] });
    expect((await up.devmesh.jobs.wait(jobId)).outcome).to.equal(JobStatus.SUCCEEDED);
    const system = await up.devmesh.system.get();
    expect(system.parts.every(({ ok }) => ok)).to.equal(true);
    await until("the audit is written", async () => {
      const rows = await up.devmesh.audit.list().toArray(500);
      return rows.some(({ outcome }) => outcome === "KEY_REUSED");
    });
    for (const no of [secret, up.token]) expect(up.log()).to.not.include(no);
  });
});

function parse(text: string): Problem {
  try {
    return JSON.parse(text) as Problem;
  } catch {
    throw new Error(`the answer is no JSON: ${text.slice(0, 200)}`);
  }
}
