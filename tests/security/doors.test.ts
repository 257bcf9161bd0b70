/** The ways in besides Connect and gRPC hold to the same rules; odd input is refused by name. */
import { once } from "node:events";
import { request } from "node:http";
import { JobService } from "@devmesh/gen/devmesh/api/v1/job_service_pb";
import { TokenService } from "@devmesh/gen/devmesh/api/v1/token_service_pb";
import { toDevmeshError } from "@devmesh/mesh/errors";
import { expect } from "chai";
import { WebSocket as Socket } from "ws";
import { Bed, trueSpec } from "../api/bed.ts";
import { startUp, type Up } from "../e2e/up.ts";
import { type TempFolder, tempFolder } from "../sdk/temp-folder.ts";
import { refusedSocket } from "../wire/socket-refusal.ts";

describe("the doors", function () {
  this.timeout(60_000);
  let bed: Bed;
  let url: string;
  const secrets = new Map<string, string>();
  let jobId: string;

  before(async () => {
    bed = await Bed.open();
    url = await bed.url();
    jobId = (await jobs("ann").then((client) => client.createJob({ spec: trueSpec }))).jobId;
  });
  after(() => bed?.close());

  /** A token of an owner with these scopes. */
  async function token(owner: string, scopes: string[]): Promise<string> {
    const key = `${owner} ${scopes.join(" ")}`;
    const known = secrets.get(key);
    if (known !== undefined) return known;
    const made = await bed
      .client(TokenService)
      .createToken({ name: key.slice(0, 99), owner, scopes });
    secrets.set(key, made.secret);
    return made.secret;
  }

  async function jobs(owner: string) {
    return bed.client(JobService, await token(owner, ["read:jobs", "write:jobs"]));
  }

  const rows: [string, RequestInit, string][] = [
    ["/v1/jobs", {}, "read:jobs"],
    ["/v1/jobs", { method: "POST", body: '{"command":{"argv":["true"]}}' }, "write:jobs"],
    ["/v1/jobs/x/events", { headers: { accept: "text/event-stream" } }, "read:jobs"],
    ["/v1/context/search?q=x", {}, "context:read"],
    ["/v1/models", {}, "llm:invoke"],
    ["/v1/chat/completions", { method: "POST", body: chat(false) }, "llm:invoke"],
    ["/v1/chat/completions", { method: "POST", body: chat(true) }, "llm:invoke"],
    ["/v1/responses", { method: "POST", body: '{"input":"hi"}' }, "llm:invoke"],
    ["/v1/responses", { method: "POST", body: '{"input":"hi","stream":true}' }, "llm:invoke"],
    ["/v1/tokens", {}, "read:tokens"],
    ["/v1/audit", {}, "read:audit"],
    ["/v1/audit:verify", {}, "read:audit"],
    ["/v1/agents", {}, "read:agents"],
    ["/v1/system", {}, "read:system"],
  ];
  for (const [path, init, scope] of rows) {
    it(`${init.method ?? "GET"} ${path} takes ${scope}`, async () => {
      const status = async (secret?: string) => {
        const headers = {
          ...(init.headers as Record<string, string>),
          ...(secret !== undefined && { authorization: `Bearer ${secret}` }),
        };
        return (await fetch(`${url}${path}`, { ...init, headers })).status;
      };
      expect(await status()).to.equal(401);
      expect(await status(`dm_${"A".repeat(43)}`)).to.equal(401);
      const others = bed.api.tokens.scopes.filter((other) => other !== scope);
      expect(await status(await token("ann", others))).to.equal(403);
    });
  }

  for (const [path, init] of [
    ["/v1/jobs/ID", {}],
    ["/v1/jobs/ID/why", {}],
    ["/v1/jobs/ID/events", {}],
    ["/v1/jobs/ID/events", { headers: { accept: "text/event-stream" } }],
    ["/v1/jobs/ID/cancel", { method: "POST", body: "{}" }],
    ["/v1/jobs/ID/retry", { method: "POST", body: "{}" }],
  ] as [string, RequestInit][]) {
    it(`${init.method ?? "GET"} ${path}: somebody else's job is like one that is not`, async () => {
      const secret = await token("bob", ["read:jobs", "write:jobs"]);
      const ask = async (id: string) => {
        const headers = { ...(init.headers as object), authorization: `Bearer ${secret}` };
        const res = await fetch(`${url}${path.replace("ID", id)}`, { ...init, headers });
        const text = (await res.text()).replaceAll(id, "ID").replaceAll(/req_\w+/g, "REQ");
        return { status: res.status, type: res.headers.get("content-type"), text };
      };
      const theirs = await ask(jobId);
      expect(theirs.status, theirs.text).to.equal(404);
      expect(theirs.text).to.include('"reason":"NOT_FOUND"');
      expect(theirs).to.deep.equal(await ask("job_00000000000000000000000000"));
    });
  }

  it("the WebSocket shows a job to its owner and to nobody else", async () => {
    const at = `${url.replace("http", "ws")}/v1/stream/${jobId}`;
    const secretOf = (owner: string) => token(owner, ["read:jobs", "write:jobs"]);
    const socket = new Socket(at, ["devmesh.v1", `bearer.${await secretOf("ann")}`]);
    const [data] = (await once(socket, "message")) as [Buffer];
    socket.terminate();
    expect(JSON.parse(data.toString())).to.include({ type: "status" });
    const authorization = `Bearer ${await secretOf("bob")}`;
    const { status, problem } = await refusedSocket(at, { authorization });
    expect([status, problem.reason]).to.deep.equal([404, "NOT_FOUND"]);
  });

  describe("odd input", () => {
    const long = "x".repeat(100_000);
    const tokens = () => bed.client(TokenService);

    async function fieldOf(call: Promise<unknown>): Promise<string> {
      const error = await call.then(
        () => toDevmeshError(new Error("it was taken")),
        (thrown: unknown) => toDevmeshError(thrown),
      );
      return `${error.reason} ${error.metadata.field ?? ""}`;
    }

    /** The status of a call with a secret; `cut` where the server hangs up instead. */
    function statusWith(secret: string): Promise<string> {
      return new Promise((resolve) => {
        const headers = { authorization: `Bearer ${secret}` };
        const req = request(`${url}/v1/jobs`, { headers, agent: false });
        req.on("response", (res) => {
          res.resume();
          resolve(String(res.statusCode));
        });
        req.on("error", () => resolve("cut"));
        req.end();
      });
    }

    for (const [what, text] of [
      ["no", ""],
      ["100,000", long],
    ] as const) {
      it(`${what} characters are refused with the field's name`, async () => {
        const scopes = ["read:jobs"];
        expect(await fieldOf(tokens().revokeToken({ id: text }))).to.equal("INVALID_FIELD id");
        expect(await fieldOf(tokens().rotateToken({ id: text }))).to.equal("INVALID_FIELD id");
        expect(await fieldOf(tokens().redeemConsoleLink({ secret: text }))).to.equal(
          "INVALID_FIELD secret",
        );
        expect(await fieldOf(tokens().createToken({ name: text, scopes }))).to.equal(
          "INVALID_FIELD name",
        );
      });

      it(`a secret of ${what} characters opens nothing`, async () => {
        expect(await statusWith(text)).to.be.oneOf(text === "" ? ["401"] : ["401", "431", "cut"]);
      });
    }

    it("names, owners and scopes with tricks in them are refused by name", async () => {
      const rows: [object, string][] = [
        [{ name: "ci\u202eroot" }, "name"],
        [{ name: "\u200b" }, "name"],
        [{ name: "ci", owner: "аnn" }, "owner"],
        [{ name: "ci", owner: "-x" }, "owner"],
        [{ name: "ci", owner: long }, "owner"],
        [{ name: "ci", scopes: ["*"] }, "scopes[0]"],
        [{ name: "ci", scopes: ["read:jоbs"] }, "scopes[0]"],
        [{ name: "ci", scopes: ["read:nothing"] }, "scopes"],
        [{ name: "ci", scopes: [] }, "scopes"],
      ];
      for (const [input, field] of rows) {
        const call = tokens().createToken({ scopes: ["read:jobs"], ...input });
        expect(await fieldOf(call), JSON.stringify(input)).to.equal(`INVALID_FIELD ${field}`);
      }
    });
  });

  it("guesses of console links are few for each address, and right ones cost nothing", async () => {
    const redeem = async (secret: string) => {
      const body = JSON.stringify({ secret });
      const headers = { "content-type": "application/json" };
      const res = await fetch(`${url}/v1/console-links:redeem`, { method: "POST", headers, body });
      return { status: res.status, retryAfter: Number(res.headers.get("retry-after") ?? 0) };
    };
    const right = async () => (await bed.client(TokenService).createConsoleLink({})).secret;
    for (let i = 0; i < 20; i++) {
      expect(await redeem("dml_wrong")).to.include({ status: 401 });
      expect((await redeem(await right())).status).to.equal(i < 19 ? 200 : 429);
    }
    const limited = await redeem("dml_wrong");
    expect(limited.status).to.equal(429);
    expect(limited.retryAfter).to.be.within(1, 60);
    bed.clock.advance(60_000);
    expect((await redeem(await right())).status).to.equal(200);
  });
});

describe("the private ports", function () {
  this.timeout(60_000);
  let folder: TempFolder | undefined;
  let up: Up;

  before(async () => {
    folder = tempFolder();
    up = await startUp({ dataDir: folder.path });
  });
  after(async () => {
    await up?.stop();
    folder?.[Symbol.dispose]();
  });

  it("are closed to everybody's tokens", async () => {
    for (const [name, path] of [
      ["mcp", "devmesh.mcp.v1.ContextService/Search"],
      ["inference", "devmesh.inference.v1.ChatService/Chat"],
      ["vm", "devmesh.vm.v1.SandboxService/ListSandboxes"],
    ] as const) {
      for (const authorization of [undefined, `Bearer ${up.token}`, "Bearer x"]) {
        const res = await fetch(`http://127.0.0.1:${up.ports[name]}/${path}`, {
          method: "POST",
          headers: { "content-type": "application/json", ...(authorization && { authorization }) },
          body: "{}",
        });
        expect(res.status, `${name}: ${await res.text()}`).to.be.oneOf([401, 404]);
      }
    }
  });
});

function chat(stream: boolean): string {
  return JSON.stringify({ model: "m", messages: [{ role: "user", content: "x" }], stream });
}
