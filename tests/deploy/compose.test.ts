/** The compose file: what it publishes, which networks join what, and that the services understand it. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { parse } from "yaml";
import { readApiConfig } from "../../services/api/config.ts";
import { readInferenceConfig } from "../../services/inference/config.ts";
import { readMcpConfig } from "../../services/mcp/config.ts";
import { readVmConfig } from "../../services/vm/config.ts";

interface ComposeService {
  readonly profiles?: readonly string[];
  readonly ports?: readonly string[];
  readonly networks?: readonly string[];
  readonly network_mode?: string;
  readonly environment?: Readonly<Record<string, string | number>>;
  readonly extra_hosts?: readonly string[];
  readonly volumes?: readonly string[];
  readonly cap_add?: readonly string[];
  readonly cap_drop?: readonly string[];
  readonly privileged?: boolean;
  readonly read_only?: boolean;
  readonly security_opt?: readonly string[];
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>;
  readonly healthcheck?: { readonly test: readonly string[] };
  readonly command?: readonly string[];
}

interface Compose {
  readonly services: Readonly<Record<string, ComposeService>>;
  readonly networks: Readonly<
    Record<string, { readonly name?: string; readonly internal?: boolean }>
  >;
  readonly volumes: Readonly<Record<string, unknown>>;
}

const path = join(import.meta.dirname, "..", "..", "deploy", "compose.yaml");
const text = readFileSync(path, "utf8");

/** The file with its variables put in, as compose does it. */
function compose(env: Readonly<Record<string, string>> = {}): Compose {
  const filled = text.replace(/\$\{([A-Z_]+):-([^}]*)\}/g, (_, name: string, fallback: string) =>
    env[name] ? env[name] : fallback,
  );
  expect(filled).to.not.contain("${");
  return parse(filled, { merge: true }) as Compose;
}

describe("deploy/compose.yaml", () => {
  const { services, networks, volumes } = compose();
  const platform = ["api", "mcp", "inference", "vm"];
  const get = (name: string) => services[name] ?? {};

  it("has the four services, each run alone, and the console for development only", () => {
    expect(Object.keys(services)).to.have.members([...platform, "console"]);
    for (const name of platform) {
      expect(get(name).command).to.deep.equal(["serve", name]);
      expect(get(name).profiles).to.equal(undefined);
    }
    expect(get("console").profiles).to.deep.equal(["dev"]);
  });

  it("publishes the backend alone, and the console in development, on loopback", () => {
    const published = Object.entries(services).flatMap(([name, { ports = [] }]) =>
      ports.map((port) => `${name} ${port}`),
    );
    expect(published).to.have.members(["api 127.0.0.1:8080:8080", "console 127.0.0.1:3000:3000"]);
  });

  it("joins the services on one private network, that leads nowhere and has the name asked for", () => {
    expect(networks.private).to.deep.equal({
      name: "dev-mesh",
      internal: true,
      driver_opts: { "com.docker.network.bridge.inhibit_ipv4": "true" },
    });
    const named = compose({ PRIVATE_NETWORK_NAME: "other" }).networks.private;
    expect(named?.name).to.equal("other");
    for (const name of platform) expect(get(name).networks).to.include("private");
    expect(get("mcp").networks).to.deep.equal(["private"]);
    for (const service of Object.values(services)) {
      expect(service.network_mode).to.equal(undefined);
      for (const name of service.networks ?? []) expect(networks).to.have.property(name);
    }
  });

  it("gives no container more rights than it needs, and none the engine's socket", () => {
    for (const [name, service] of Object.entries(services)) {
      expect(service.privileged, name).to.equal(undefined);
      expect(service.cap_add, name).to.equal(undefined);
      expect(service.cap_drop, name).to.deep.equal(["ALL"]);
      expect(service.read_only, name).to.equal(true);
      expect(service.security_opt, name).to.deep.equal(["no-new-privileges:true"]);
      for (const volume of service.volumes ?? []) {
        expect(volumes, volume).to.have.property(volume.split(":")[0] ?? "");
      }
    }
    expect(text).to.not.contain("docker.sock");
  });

  it("starts what others need first, once it is ready", () => {
    const needs = (name: string) => Object.keys(get(name).depends_on ?? {});
    expect(needs("inference")).to.deep.equal([]);
    expect(needs("mcp")).to.deep.equal(["inference"]);
    expect(needs("api")).to.have.members(["mcp", "inference"]);
    expect(needs("vm")).to.deep.equal(["api"]);
    for (const { depends_on: on = {} } of Object.values(services)) {
      for (const [name, { condition }] of Object.entries(on)) {
        expect(condition).to.equal("service_healthy");
        expect(get(name).healthcheck?.test.join(" ")).to.match(/127\.0\.0\.1:\d+\/readyz/);
      }
    }
  });

  it("is understood by the services, which find each other by name", () => {
    const folder = mkdtempSync(join(tmpdir(), "dm-compose-"));
    try {
      const token = join(folder, "token");
      writeFileSync(token, "the-secret-of-the-services");
      const env = (name: string) => ({
        ...Object.fromEntries(
          Object.entries(get(name).environment ?? {}).map(([key, value]) => [key, String(value)]),
        ),
        DEVMESH_SERVICE_TOKEN_FILE: token,
      });
      const api = readApiConfig(env("api"));
      expect(api).to.include({ host: "0.0.0.0", port: 8080, environment: "production" });
      expect(api).to.include({ mcpUrl: "http://mcp:7000", inferenceUrl: "http://inference:7100" });
      const mcp = readMcpConfig(env("mcp"));
      expect(mcp).to.include({ port: 7000, inferenceUrl: api.inferenceUrl });
      const inference = readInferenceConfig(env("inference"));
      expect(inference).to.include({
        port: 7100,
        ollamaBaseUrl: "http://host.docker.internal:11434",
      });
      const extra = get("inference").extra_hosts;
      expect(extra).to.deep.equal(["host.docker.internal:host-gateway"]);
      const vm = readVmConfig(env("vm"));
      expect(vm).to.include({ port: 7200, apiUrl: "http://api:8080" });
      for (const { host, serviceToken } of [mcp, inference, vm]) {
        expect(host).to.equal("0.0.0.0");
        expect(serviceToken).to.equal("the-secret-of-the-services");
      }
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
