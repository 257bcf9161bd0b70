/** The egress proxy with real clients and real hosts: what is let through gets through as it was sent. */
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { expect } from "chai";
import { ask, askTls, EgressBed, secure, tunnel } from "./bed.ts";

describe("egress proxy", () => {
  let bed: EgressBed;
  beforeEach(async () => {
    bed = await EgressBed.open();
  });
  afterEach(() => bed.close());

  const jobCa = (mounts: readonly { hostPath: string }[]) =>
    mounts.map(({ hostPath }) => readFileSync(hostPath, "utf8"));

  it("passes TLS through as it is where no rule looks inside", async () => {
    const host = await bed.tlsHost("plain.example");
    const egress = await bed.proxy({ allow: [{ host: "plain.example", port: host.port }] });
    const url = `https://plain.example:${host.port}/a?b=c`;
    const got = await askTls(egress, bed.ca, url, { method: "POST", body: "the body" });
    expect(got).to.include({ status: 200, body: "hello" });
    expect(host.seen[0]).to.include({ method: "POST", url: "/a?b=c", body: "the body" });
    expect(host.names).to.deep.equal(["plain.example"]);
    const decided = await bed.decided(egress);
    expect(decided).to.deep.equal([
      { host: "plain.example", method: "CONNECT", path: "", reason: "" },
    ]);
    const { egressBytes, ingressBytes } = egress.bytes();
    expect(egressBytes).to.be.greaterThan(200);
    expect(ingressBytes).to.be.greaterThan(200);
  });

  it("ends TLS itself where a rule names methods or paths, with a certificate of the job's own", async () => {
    const host = await bed.tlsHost("api.example");
    const egress = await bed.proxy({
      allow: [{ host: "api.example", port: host.port, methods: ["GET", "POST"], paths: ["/ok/"] }],
    });
    const ca = jobCa(egress.mounts);
    const url = `https://api.example:${host.port}`;
    const post = { method: "POST", body: "x".repeat(100_000), headers: { "x-own": "kept" } };
    expect(await askTls(egress, ca, `${url}/ok/a%61?q=1`, post)).to.include({
      status: 200,
      body: "hello",
    });
    expect(host.seen[0]).to.include({ method: "POST", url: "/ok/a%61?q=1" });
    expect(host.seen[0]?.body).to.have.length(100_000);
    expect(host.seen[0]?.headers).to.include({ "x-own": "kept", host: `api.example:${host.port}` });
    expect(await askTls(egress, ca, `${url}/other`)).to.include({
      status: 403,
      why: "PATH_NOT_ALLOWED",
    });
    expect(await askTls(egress, ca, `${url}/ok/`, { method: "DELETE" })).to.include({
      status: 403,
      why: "METHOD_NOT_ALLOWED",
    });
    expect(host.seen).to.have.length(1);
    const { egressBytes, ingressBytes } = egress.bytes();
    expect(egressBytes).to.be.greaterThan(100_000);
    expect(ingressBytes).to.be.greaterThan(100);
    const decided = await bed.decided(egress);
    expect(decided.map(({ path, reason }) => `${path} ${reason}`)).to.have.members([
      ...["/ok/aa ", "/other PATH_NOT_ALLOWED", "/ok/ METHOD_NOT_ALLOWED"],
    ]);
    expect(bed.notes.join("\n")).to.contain("PATH_NOT_ALLOWED").and.contain("DELETE");
  });

  it("judges each request of a connection by itself", async () => {
    const host = await bed.tlsHost("api.example");
    const egress = await bed.proxy({
      allow: [{ host: "api.example", port: host.port, paths: ["/ok"] }],
    });
    const authority = `api.example:${host.port}`;
    const { socket } = await tunnel(egress.door.socketPath, authority);
    const tls = await secure(socket, "api.example", jobCa(egress.mounts));
    const get = (path: string) => `GET ${path} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`;
    let text = "";
    const ends: number[] = [];
    for (const path of ["/ok/1", "/no", "/ok/2", "/ok/../no"]) {
      tls.write(get(path));
      // Every answer here ends its chunks, or its one line of JSON.
      while (!/(0\r\n\r\n|hello|\}\n)$/.test(text) || ends.at(-1) === text.length) {
        const [chunk] = (await once(tls, "data")) as [Buffer];
        text += chunk.toString();
      }
      ends.push(text.length);
    }
    const statuses = text.match(/HTTP\/1\.1 \d+/g);
    expect(statuses).to.deep.equal(["200", "403", "200", "403"].map((code) => `HTTP/1.1 ${code}`));
    expect(host.seen.map(({ url }) => url)).to.deep.equal(["/ok/1", "/ok/2"]);
    // Both went over one connection.
    expect(host.connections.size).to.equal(1);
  });

  it("takes plain HTTP where a rule says so, as a proxy request and in a tunnel", async () => {
    const host = await bed.plainHost("mirror.example");
    const egress = await bed.proxy({
      allow: [{ host: "mirror.example", port: host.port, plainHttp: true, paths: ["/debian/"] }],
    });
    const { socketPath } = egress.door;
    const authority = `mirror.example:${host.port}`;
    const headers = { host: authority };
    const path = `http://${authority}/debian/x`;
    expect(await ask({ socketPath, path, headers })).to.include({ status: 200, body: "hello" });
    const { socket } = await tunnel(socketPath, authority);
    const inner = { createConnection: () => socket, headers };
    expect(await ask({ ...inner, path: "/debian/y" })).to.include({ status: 200 });
    expect(await ask({ socketPath, path: `http://${authority}/etc`, headers })).to.include({
      status: 403,
      why: "PATH_NOT_ALLOWED",
    });
    expect(host.seen.map(({ url }) => url)).to.deep.equal(["/debian/x", "/debian/y"]);
  });

  it("follows no redirect: what the client asks next is judged again", async () => {
    const host = await bed.plainHost("mirror.example");
    host.onRequest = (_req, res) =>
      res.writeHead(302, { location: "http://169.254.169.254/latest" }).end();
    const egress = await bed.proxy({
      allow: [{ host: "mirror.example", port: host.port, plainHttp: true }],
    });
    const { socketPath } = egress.door;
    const authority = `mirror.example:${host.port}`;
    const first = await ask({
      socketPath,
      path: `http://${authority}/`,
      headers: { host: authority },
    });
    expect(first.status).to.equal(302);
    const next = await ask({
      socketPath,
      path: String(first.headers.location),
      headers: { host: "169.254.169.254" },
    });
    expect(next).to.include({ status: 403, why: "BAD_HOST" });
  });

  it("trusts no host that cannot prove who it is", async () => {
    const host = await bed.tlsHost("real.example");
    bed.names.set("false.example", ["127.0.0.1"]);
    const egress = await bed.proxy({
      allow: [{ host: "false.example", port: host.port, methods: ["GET"] }],
    });
    const got = await askTls(egress, jobCa(egress.mounts), `https://false.example:${host.port}/`);
    expect(got).to.include({ status: 502, why: "UPSTREAM_TLS" });
    expect(host.seen).to.deep.equal([]);
  });

  it("tells a host that is away from one that is refused", async () => {
    const host = await bed.tlsHost("up.example");
    bed.names.set("down.example", ["127.0.0.1"]);
    const egress = await bed.proxy({
      allow: [
        { host: "down.example", port: 1 },
        { host: "gone.example", port: host.port },
      ],
    });
    const { socketPath } = egress.door;
    for (const [authority, status, why] of [
      ["down.example:1", 502, "UNREACHABLE"],
      [`gone.example:${host.port}`, 502, "NAME_NOT_FOUND"],
      [`up.example:${host.port}`, 403, "NOT_ALLOWED"],
    ] as const) {
      const got = await tunnel(socketPath, authority);
      got.socket.destroy();
      expect(got, authority).to.include({ status, why });
    }
  });

  it("streams an answer as it comes", async () => {
    const host = await bed.tlsHost("stream.example");
    const more = Promise.withResolvers<void>();
    host.onRequest = (_req, res) => {
      res.write("first");
      void more.promise.then(() => res.end("second"));
    };
    const egress = await bed.proxy({
      allow: [{ host: "stream.example", port: host.port, methods: ["GET"] }],
    });
    const authority = `stream.example:${host.port}`;
    const { socket } = await tunnel(egress.door.socketPath, authority);
    const tls = await secure(socket, "stream.example", jobCa(egress.mounts));
    tls.write(`GET / HTTP/1.1\r\nHost: ${authority}\r\nConnection: close\r\n\r\n`);
    let text = "";
    const closed = new Promise((resolve) => tls.once("close", resolve));
    await new Promise<void>((resolve) => {
      tls.on("data", (chunk: Buffer) => {
        text += chunk.toString();
        if (text.includes("first")) resolve();
      });
    });
    expect(text).to.not.contain("second");
    more.resolve();
    await closed;
    expect(text).to.contain("second");
  });

  it("comes to this machine's loopback, where it is open, from an address of its own", async function () {
    if (process.platform !== "linux") this.skip();
    const host = await bed.plainHost("local.example");
    const egress = await bed.proxy({
      allow: [{ host: "local.example", port: host.port, plainHttp: true }],
    });
    const authority = `local.example:${host.port}`;
    const { socketPath } = egress.door;
    await ask({ socketPath, path: `http://${authority}/`, headers: { host: authority } });
    expect(host.peers).to.deep.equal(["127.0.0.2"]);
  });

  it("leaves nothing open when it is closed", async () => {
    const host = await bed.tlsHost("stay.example");
    host.onRequest = (_req, res) => res.write("for ever");
    const egress = await bed.proxy({ allow: [{ host: "stay.example", port: host.port }] });
    const { socket } = await tunnel(egress.door.socketPath, `stay.example:${host.port}`);
    const tls = await secure(socket, "stay.example", bed.ca);
    const closed = new Promise((resolve) => tls.once("close", resolve));
    const gone = Promise.all(
      [...host.connections].map((peer) => new Promise((resolve) => peer.once("close", resolve))),
    );
    await egress.close();
    await closed;
    await gone;
  });
});
