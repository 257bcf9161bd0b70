/** A job with a network policy, from its spec to its audit: doors, variables, notes, reports, bytes. */
import { existsSync } from "node:fs";
import { dirname } from "node:path";
import { JobStatus } from "@devmesh/gen/devmesh/api/v1/job_status_pb";
import { expect } from "chai";
import { Bed, failBefore, loseAnswer } from "./bed.ts";
import { ask, EgressBed, type TestHost, tunnel } from "./egress/bed.ts";
import { TestDriver } from "./test-driver.ts";

describe("a job with a network policy", () => {
  let bed: Bed;
  let hosts: EgressBed;
  let host: TestHost;
  /** What the program in the sandbox does with the socket of its door. */
  let visit: (socketPath: string, env: Readonly<Record<string, string>>) => Promise<void>;
  let driver: TestDriver;
  beforeEach(async () => {
    bed = await Bed.open();
    hosts = await EgressBed.open();
    host = await hosts.plainHost("mirror.example");
    visit = async () => {};
    driver = new TestDriver({
      visit: async ({ env }) => {
        const door = driver.created.at(-1)?.doors.find(({ name }) => name === "egress");
        await visit(door?.socketPath ?? "", env);
        return 0;
      },
    });
  });
  afterEach(async () => {
    await bed.close();
    await hosts.close();
  });

  const resolve = async (name: string) => hosts.names.get(name) ?? [];
  const start = () => bed.start({ driver, egress: { allowPrivate: ["127.0.0.0/8"], resolve } });
  const submit = () =>
    bed.submit({
      work: { case: "command", value: { argv: ["visit"] } },
      network: { allow: [{ host: "mirror.example", port: host.port, plainHttp: true }] },
    });
  const get = (socketPath: string, path = "/") => {
    const authority = `mirror.example:${host.port}`;
    return ask({ socketPath, path: `http://${authority}${path}`, headers: { host: authority } });
  };
  const auditRows = async (id: string) => {
    const { events } = await bed.audit.listAuditEvents({ pageSize: 500 });
    return events
      .filter(({ action, resource }) => resource === id && /^egress\.(allow|refuse)$/.test(action))
      .map(({ action, outcome, detail }) => ({ action, outcome, ...JSON.parse(detail) }));
  };
  const ended = (id: string) => bed.ended(id, { timePasses: true });

  it("reaches what it allows, and its audit says what was let through and what was not", async () => {
    start();
    let variables: Readonly<Record<string, string>> = {};
    visit = async (socketPath, env) => {
      variables = env;
      expect((await get(socketPath, "/a?token=x")).body).to.equal("hello");
      await get(socketPath, "/a");
      (await tunnel(socketPath, "evil.example:443")).socket.destroy();
    };
    const id = await submit();
    const { status, result } = await ended(id);
    expect(status).to.equal(JobStatus.SUCCEEDED);
    expect(host.seen.map(({ url }) => url)).to.deep.equal(["/a?token=x", "/a"]);
    const rows = await auditRows(id);
    expect(rows).to.have.length(2);
    expect(rows).to.deep.include({
      ...{ action: "egress.allow", outcome: "ok", host: "mirror.example", port: host.port },
      ...{ method: "GET", path: "/a", address: "127.0.0.1", count: 2 },
    });
    expect(rows).to.deep.include({
      ...{ action: "egress.refuse", outcome: "NOT_ALLOWED", host: "evil.example", port: 443 },
      ...{ method: "CONNECT", path: "", address: "", count: 1 },
    });
    const notes = (await bed.events(id)).flatMap(({ kind }) =>
      kind.case === "note" && kind.value.topic === "egress" ? [kind.value.message] : [],
    );
    expect(notes).to.deep.equal(["egress refused: CONNECT evil.example:443 (NOT_ALLOWED)"]);
    expect(Number(result?.usage?.egressBytes)).to.be.greaterThan(50);
    expect(Number(result?.usage?.ingressBytes)).to.be.greaterThan(50);
    for (const name of ["HTTP_PROXY", "https_proxy", "ALL_PROXY"]) {
      expect(variables[name]).to.equal("http://127.0.0.1:3128");
    }
    expect(variables.SSL_CERT_FILE).to.equal("/opt/devmesh/egress/bundle.pem");
    expect(driver.created[0]?.doors).to.deep.include({
      ...{ name: "egress", port: 3128, socketPath: driver.created[0]?.doors[0]?.socketPath },
    });
  });

  it("leaves no socket and no folder", async () => {
    start();
    let path = "";
    visit = async (socketPath) => {
      path = socketPath;
      expect(existsSync(socketPath)).to.equal(true);
    };
    await ended(await submit());
    expect(existsSync(dirname(path))).to.equal(false);
  });

  it("reports each decision once, though answers are lost and the backend is away", async () => {
    const { faults } = start();
    faults.next("ReportEgress", loseAnswer("UNAVAILABLE"), failBefore("UNAVAILABLE"));
    visit = async (socketPath) => {
      await get(socketPath, "/one");
      await get(socketPath, "/two");
    };
    const id = await submit();
    expect((await ended(id)).status).to.equal(JobStatus.SUCCEEDED);
    const paths = (await auditRows(id)).map(({ path }) => path).toSorted();
    expect(paths).to.deep.equal(["/one", "/two"]);
  });

  it("fails where its requests cannot be recorded", async () => {
    const { faults } = start();
    faults.always("ReportEgress", failBefore("INVALID_FIELD"));
    visit = async (socketPath) => void (await get(socketPath));
    const { status, result } = await ended(await submit());
    expect([status, result?.reason]).to.deep.equal([JobStatus.FAILED, "INVALID_FIELD"]);
  });

  it("fails by name where it wants a secret that the host does not have", async () => {
    start();
    const secrets = [{ header: "authorization", secret: "GITHUB" }];
    const id = await bed.submit({
      work: { case: "command", value: { argv: ["visit"] } },
      network: { allow: [{ host: "api.example", secrets }] },
    });
    const { status, result } = await ended(id);
    expect([status, result?.reason]).to.deep.equal([JobStatus.FAILED, "EGRESS_REFUSED"]);
    expect(result?.message).to.contain("network.allow[0].secrets[0].secret").and.contain("GITHUB");
    expect(driver.created).to.deep.equal([]);
  });

  it("has no way out without one", async () => {
    start();
    visit = async (socketPath, env) => {
      expect(socketPath).to.equal("");
      expect(env).to.not.have.any.keys("HTTP_PROXY", "https_proxy", "NODE_USE_ENV_PROXY");
    };
    const id = await bed.command("visit");
    const { status, result } = await ended(id);
    expect(status).to.equal(JobStatus.SUCCEEDED);
    expect(result?.usage?.egressBytes).to.equal(0n);
    expect(driver.created[0]?.doors).to.deep.equal([]);
    expect(await auditRows(id)).to.deep.equal([]);
  });

  it("does not let a private address be reached unless the host's operator opens it", async () => {
    bed.start({ driver, egress: { resolve } });
    visit = async (socketPath) => {
      expect(await get(socketPath)).to.include({ status: 403, why: "PRIVATE_ADDRESS" });
    };
    const id = await submit();
    expect((await ended(id)).status).to.equal(JobStatus.SUCCEEDED);
    expect(host.seen).to.deep.equal([]);
    expect((await auditRows(id))[0]).to.include({ outcome: "PRIVATE_ADDRESS" });
  });
});
