/** Everything at one port: each protocol by a client that is not ours, all seeing the same job. */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect } from "chai";
import OpenAI from "openai";
import { findGrpcurl } from "../../scripts/parts/grpcurl.ts";
import { missing } from "../../scripts/parts/part.ts";
import { findOnPath } from "../../scripts/parts/run.ts";
import { log, need } from "../parts/need.ts";
import { type TempFolder, tempFolder } from "../sdk/temp-folder.ts";
import { root } from "./program.ts";
import { answer, question, writeScript } from "./script.ts";
import { startUp, type Up, untilRunner } from "./up.ts";
import { watchers } from "./watchers.ts";

const call = promisify(execFile);
const service = "devmesh.api.v1.JobService";

describe("everything at one port", function () {
  this.timeout(90_000);
  let folder: TempFolder | undefined;
  let up: Up;
  let id: string;

  before(async () => {
    folder = tempFolder();
    const env = {
      SCRIPTED_PATH: writeScript(folder.path),
      CONSOLE_DIR: join(folder.write("web/index.html", "<title>devmesh</title>"), ".."),
    };
    up = await startUp({ dataDir: join(folder.path, "data"), env });
    await untilRunner(up);
  });
  after(async () => {
    await up?.stop();
    folder?.[Symbol.dispose]();
  });

  const bearer = () => `Authorization: Bearer ${up.token}`;
  const json = async (path: string, init: RequestInit = {}) => {
    const headers = { authorization: `Bearer ${up.token}`, ...init.headers };
    const res = await fetch(`${up.url}${path}`, { ...init, headers });
    return { status: res.status, body: (await res.json()) as Record<string, unknown> };
  };

  describe("REST", () => {
    it("makes a job, once for a key", async () => {
      const init = {
        method: "POST",
        headers: { "Idempotency-Key": "one-port", "content-type": "application/json" },
        body: JSON.stringify({ command: { argv: ["true"] } }),
      };
      const first = await json("/v1/jobs", init);
      expect(first.status).to.equal(200);
      id = String(first.body.jobId);
      expect(id).to.match(/^job_[0-9a-z]{26}$/);
      expect((await json("/v1/jobs", init)).body).to.include({ jobId: id, replayed: true });
      await up.devmesh.jobs.wait(id);
    });

    it("lists it and answers it", async () => {
      const { body } = await json("/v1/jobs");
      const jobs = body.jobs as { id: string; status: string }[];
      expect(jobs[0]).to.include({ id, status: "JOB_STATUS_SUCCEEDED" });
      expect((await json(`/v1/jobs/${id}`)).body.job).to.deep.equal(jobs[0]);
    });

    it("says that it lives and is ready", async () => {
      expect(await json("/livez")).to.deep.equal({ status: 200, body: { status: "ok" } });
      const { status, body } = await json("/readyz");
      expect({ status, said: body.status }).to.deep.equal({ status: 200, said: "ok" });
    });

    it("describes itself: every reference of /openapi.json leads somewhere", async () => {
      const { body } = await json("/openapi.json");
      expect(String(body.openapi)).to.match(/^3\./);
      expect(Object.keys(body.paths as object)).to.include.members(["/v1/jobs", "/v1/jobs/{id}"]);
      const references = JSON.stringify(body).matchAll(/"\$ref":"#\/([^"]+)"/g);
      const names = new Set([...references].map(([, path = ""]) => path));
      expect(names.size).to.be.greaterThan(10);
      for (const name of names) {
        const found = name
          .split("/")
          .reduce<unknown>((at, key) => (at as Record<string, unknown> | undefined)?.[key], body);
        expect(found, name).to.be.an("object");
      }
    });

    it("serves the console's page, also below its own addresses", async () => {
      for (const path of ["/", "/jobs/x"]) {
        const res = await fetch(`${up.url}${path}`);
        expect(res.headers.get("content-type")).to.include("text/html");
        expect(await res.text()).to.include("<title>devmesh</title>");
      }
    });
  });

  describe("curl", () => {
    for (const version of ["--http1.1", "--http2-prior-knowledge"]) {
      it(`sees the job by ${version.slice(2)}`, async function () {
        need(this, curl());
        const args = [
          "-sS",
          "--fail-with-body",
          version,
          "-H",
          bearer(),
          "-w",
          "\n%{http_version}",
        ];
        const { stdout } = await call("curl", [...args, `${up.url}/v1/jobs/${id}`]);
        const [body = "", used] = stdout.split("\n");
        expect(used).to.equal(version === "--http1.1" ? "1.1" : "2");
        expect((JSON.parse(body) as { job: { id: string } }).job.id).to.equal(id);
      });
    }

    it("streams the job's events", async function () {
      need(this, curl());
      const accept = ["-H", "Accept: text/event-stream"];
      const args = ["-sS", "-N", "--http2-prior-knowledge", "-H", bearer(), ...accept];
      const { stdout } = await call("curl", [...args, `${up.url}/v1/jobs/${id}/events`]);
      expect(stdout).to.match(/^id: 1\ndata: \{"event":\{"seq":1,/);
      expect(stdout).to.include('"result":');
    });
  });

  describe("grpcurl, with no proto files", () => {
    const grpcurl = async (context: Mocha.Context, ...args: string[]) => {
      const { path } = need(context, await findGrpcurl({ log }));
      const { stdout } = await call(path, ["-plaintext", "-H", bearer(), ...args]);
      return stdout;
    };
    const address = () => new URL(up.url).host;

    it("lists the services", async function () {
      const found = (await grpcurl(this, address(), "list")).trim().split("\n");
      expect(found).to.include.members([
        service,
        "devmesh.api.v1.TokenService",
        "grpc.health.v1.Health",
      ]);
    });

    it("describes one", async function () {
      const text = await grpcurl(this, address(), "describe", service);
      expect(text).to.include("rpc CreateJob ( .devmesh.api.v1.CreateJobRequest )");
      expect(text).to.include("stream .devmesh.api.v1.WatchJobResponse");
    });

    it("asks for the health of all and of one", async function () {
      for (const name of ["", service]) {
        const data = ["-d", JSON.stringify({ service: name })];
        const text = await grpcurl(this, ...data, address(), "grpc.health.v1.Health/Check");
        expect(JSON.parse(text)).to.deep.equal({ status: "SERVING" });
      }
    });

    it("sees the job", async function () {
      const data = ["-d", JSON.stringify({ id })];
      const text = await grpcurl(this, ...data, address(), `${service}/GetJob`);
      expect((JSON.parse(text) as { job: { id: string } }).job.id).to.equal(id);
    });
  });

  describe("buf curl", () => {
    for (const protocol of ["connect", "grpc", "grpcweb"]) {
      it(`sees the job by ${protocol}`, async () => {
        const args = ["--protocol", protocol, "--http2-prior-knowledge", "-H", bearer()];
        const data = ["-d", JSON.stringify({ id })];
        const at = `${up.url}/${service}/GetJob`;
        const buf = join(root, "node_modules", ".bin", "buf");
        const { stdout } = await call(buf, ["curl", ...args, ...data, at], { cwd: folder?.path });
        expect((JSON.parse(stdout) as { job: { id: string } }).job.id).to.equal(id);
      });
    }
  });

  describe("streams", () => {
    for (const [name, watch] of Object.entries(watchers)) {
      it(`watches the job by ${name}`, async () => {
        const seen = await watch({ url: up.url, token: up.token, id, from: 1 });
        expect(seen[0]).to.include({ seq: 1, kind: "status" });
        expect(seen.at(-1)).to.include({ seq: seen.length, kind: "result" });
      });
    }
  });

  it("answers OpenAI's own client", async () => {
    const openai = new OpenAI({ baseURL: `${up.url}/v1`, apiKey: up.token, maxRetries: 0 });
    const { choices } = await openai.chat.completions.create({
      model: "scripted/ledger-replay",
      messages: [{ role: "user", content: question }],
    });
    expect(choices[0]?.message.content).to.equal(answer);
  });
});

function curl() {
  const path = findOnPath("curl");
  return path === undefined
    ? missing("curl is not on PATH", "install curl")
    : { ok: true as const, value: path };
}
