/** Who may call what: every public method with every kind of token, out of the contracts themselves. */
import type { DescMethod } from "@bufbuild/protobuf";
import { AgentService } from "@devmesh/gen/devmesh/api/v1/agent_service_pb";
import { AuditService } from "@devmesh/gen/devmesh/api/v1/audit_service_pb";
import { BlobService } from "@devmesh/gen/devmesh/api/v1/blob_service_pb";
import { ContextService } from "@devmesh/gen/devmesh/api/v1/context_service_pb";
import { InferService } from "@devmesh/gen/devmesh/api/v1/infer_service_pb";
import { JobService } from "@devmesh/gen/devmesh/api/v1/job_service_pb";
import { RunnerService } from "@devmesh/gen/devmesh/api/v1/runner_service_pb";
import { SystemService } from "@devmesh/gen/devmesh/api/v1/system_service_pb";
import { TokenService } from "@devmesh/gen/devmesh/api/v1/token_service_pb";
import { ChatService } from "@devmesh/gen/devmesh/inference/v1/chat_service_pb";
import { accessOf } from "@devmesh/mesh/interceptors";
import { expect } from "chai";
import { startUp, type Up } from "../e2e/up.ts";
import { type TempFolder, tempFolder } from "../sdk/temp-folder.ts";

const services = [
  AgentService,
  AuditService,
  BlobService,
  ChatService,
  ContextService,
  InferService,
  JobService,
  RunnerService,
  SystemService,
  TokenService,
];

const methods = services.flatMap(({ methods }) => methods);
const scopes = [...new Set(methods.map((method) => accessOf(method)?.scope ?? ""))]
  .filter((scope) => scope !== "")
  .sort();

/** Codes that say that something broke. */
const broken = ["internal", "unknown", "data_loss", "unavailable", "unimplemented"];

describe("the authorisation matrix", function () {
  this.timeout(60_000);
  let folder: TempFolder | undefined;
  let up: Up;
  /** A token that holds just this scope. */
  const only = new Map<string, string>();
  /** A token that holds all scopes but this. */
  const without = new Map<string, string>();
  let revoked: string;

  before(async () => {
    folder = tempFolder();
    up = await startUp({ dataDir: folder.path });
    const { tokens } = up.devmesh;
    for (const scope of scopes) {
      only.set(scope, (await tokens.create({ name: scope, scopes: [scope] })).secret);
      const others = scopes.filter((other) => other !== scope);
      without.set(scope, (await tokens.create({ name: `no ${scope}`, scopes: others })).secret);
    }
    const all = await tokens.create({ name: "revoked", scopes });
    await tokens.revoke(all.token.id);
    revoked = all.secret;
  });
  after(async () => {
    await up?.stop();
    folder?.[Symbol.dispose]();
  });

  it("knows every service that is served", async () => {
    const res = await fetch(`${up.url}/openapi.json`);
    const { paths } = (await res.json()) as { paths: object };
    expect(Object.keys(paths).length).to.be.greaterThan(10);
    expect(scopes).to.include.members(["read:jobs", "write:jobs", "llm:invoke", "context:read"]);
    for (const method of methods) {
      const rule = accessOf(method);
      expect(rule?.public === true || rule?.scope !== "", method.name).to.equal(true);
    }
  });

  for (const method of methods) {
    const rule = accessOf(method);
    const scope = rule?.scope ?? "";
    it(`${method.parent.name}.${method.name}: ${rule?.public ? "anybody" : scope}`, async () => {
      const call = (secret?: string) => callEmpty(up.url, method, secret);
      expect(await call(revoked)).to.equal("unauthenticated");
      expect(await call("dm_unknown")).to.equal("unauthenticated");
      const open = await call();
      if (rule?.public) {
        expect(open).to.not.be.oneOf(broken);
        return;
      }
      expect(open).to.equal("unauthenticated");
      expect(await call(without.get(scope))).to.equal("permission_denied");
      const allowed = await call(only.get(scope));
      expect(allowed).to.not.be.oneOf([...broken, "unauthenticated", "permission_denied"]);
    });
  }

  it("holds the other ways in to the same rules", async () => {
    const rows: [string, RequestInit, string][] = [
      ["/v1/jobs", {}, "read:jobs"],
      ["/v1/jobs", { method: "POST", body: '{"command":{"argv":["true"]}}' }, "write:jobs"],
      ["/v1/jobs/x/events", { headers: { accept: "text/event-stream" } }, "read:jobs"],
      ["/v1/context/search?q=x", {}, "context:read"],
      ["/v1/models", {}, "llm:invoke"],
      ["/v1/chat/completions", { method: "POST", body: chat(false) }, "llm:invoke"],
      ["/v1/chat/completions", { method: "POST", body: chat(true) }, "llm:invoke"],
      ["/v1/tokens", {}, "read:tokens"],
      ["/v1/audit", {}, "read:audit"],
      ["/v1/agents", {}, "read:agents"],
      ["/v1/system", {}, "read:system"],
    ];
    for (const [path, init, scope] of rows) {
      const status = async (secret?: string) => {
        const headers = {
          ...(init.headers as Record<string, string>),
          ...(secret !== undefined && { authorization: `Bearer ${secret}` }),
        };
        return (await fetch(`${up.url}${path}`, { ...init, headers })).status;
      };
      expect(await status(), path).to.equal(401);
      expect(await status(revoked), path).to.equal(401);
      expect(await status(without.get(scope)), path).to.equal(403);
    }
  });

  it("keeps the private ports closed to everybody's tokens", async () => {
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

/** Calls a method with an empty message by Connect; answers the code, `ok` for success. */
async function callEmpty(url: string, method: DescMethod, secret?: string): Promise<string> {
  const streams = method.methodKind !== "unary";
  const envelope = Buffer.concat([Buffer.from([0, 0, 0, 0, 2]), Buffer.from("{}")]);
  const res = await fetch(`${url}/${method.parent.typeName}/${method.name}`, {
    method: "POST",
    headers: {
      "content-type": streams ? "application/connect+json" : "application/json",
      "connect-timeout-ms": "5000",
      ...(secret !== undefined && { authorization: `Bearer ${secret}` }),
    },
    body: streams ? envelope : "{}",
  });
  const text = await res.text();
  const code = /"code":"([a-z_]+)"/.exec(text)?.[1];
  return code ?? (res.ok ? "ok" : `http ${res.status}`);
}
