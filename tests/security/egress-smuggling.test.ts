/** Attacks on the egress proxy by requests that can be read in two ways: only what was judged gets out. */
import { expect } from "chai";
import fc from "fast-check";
import { normalPath, parseTarget } from "../../services/vm/egress/request-path.ts";
import { EgressBed, sendRaw, type TestHost } from "../vm/egress/bed.ts";

/** Every escape as the character of its number. */
const decode = (text: string) =>
  text.replace(/%([0-9A-Fa-f]{2})/g, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );

describe("egress attacks by requests", () => {
  let bed: EgressBed;
  let host: TestHost;
  let socketPath: string;
  let authority: string;
  beforeEach(async () => {
    bed = await EgressBed.open();
    host = await bed.plainHost("allowed.example");
    await bed.plainHost("other.example");
    authority = `allowed.example:${host.port}`;
    const rule = { host: "allowed.example", port: host.port, plainHttp: true };
    const egress = await bed.proxy({
      allow: [{ ...rule, methods: ["GET", "POST"], paths: ["/ok/"] }],
    });
    socketPath = egress.door.socketPath;
  });
  afterEach(() => bed.close());

  const url = (path: string) => `http://${authority}${path}`;
  const request = (line: string, headers: readonly string[], body = "") =>
    [line, ...headers, "", body].join("\r\n");
  const hidden = () =>
    `GET ${url("/secret")} HTTP/1.1\r\nHost: ${authority}\r\nConnection: close\r\n\r\n`;

  const framings: Readonly<Record<string, readonly string[]>> = {
    "both a length and chunks": ["Content-Length: 5", "Transfer-Encoding: chunked"],
    "chunks and a length": ["Transfer-Encoding: chunked", "Content-Length: 5"],
    "two lengths": ["Content-Length: 5", "Content-Length: 0"],
    "two equal lengths": ["Content-Length: 0", "Content-Length: 0"],
    "a list of lengths": ["Content-Length: 0, 5"],
    "a signed length": ["Content-Length: +5"],
    "a length in another base": ["Content-Length: 0x5"],
    "a length that is negative": ["Content-Length: -1"],
    "a length without end": ["Content-Length: 99999999999999999999"],
    "an unknown coding": ["Transfer-Encoding: gzip"],
    "chunks that are not last": ["Transfer-Encoding: chunked, identity"],
    "two codings": ["Transfer-Encoding: identity", "Transfer-Encoding: chunked"],
    "a coding with a tab": ["Transfer-Encoding:\tchunked\t, x"],
    "a coding with a space before its colon": ["Transfer-Encoding : chunked"],
    "a folded header": ["X: a", " Transfer-Encoding: chunked"],
    "a coding behind a bare line feed": ["X: a\nTransfer-Encoding: chunked"],
    "a coding behind a bare return": ["X: a\rTransfer-Encoding: chunked"],
    "a NUL in a header": ["X: a\0b"],
    "two hosts": [`Host: other.example`],
    "no colon": ["Transfer-Encoding chunked"],
  };
  for (const [what, headers] of Object.entries(framings)) {
    it(`passes no request on with ${what}`, async () => {
      const first = request(`POST ${url("/ok/1")} HTTP/1.1`, [`Host: ${authority}`, ...headers]);
      const answer = await sendRaw(socketPath, `${first}0\r\n\r\n${hidden()}`);
      expect(answer).to.match(/^HTTP\/1\.1 4\d\d /);
      // What stands behind it is judged by itself, if it is read at all.
      expect(host.seen.map(({ url: path }) => path)).to.deep.equal([]);
    });
  }

  it("frames anew what it passes on: chunk extensions, trailers and hops stay behind", async () => {
    const body = "3;x=y\r\nabc\r\n0\r\nX-Trailer: 1\r\n\r\n";
    const headers = [
      ...[`Host: ${authority}`, "Transfer-Encoding: chunked", "Connection: close, X-Hop"],
      ...["X-Hop: 1", "Proxy-Authorization: Basic abc", "TE: trailers", "Keep-Alive: 5"],
      ...["X-Kept: 1", "X-Kept: 2", "Proxy-Connection: x", "Upgrade: h2c", "HTTP2-Settings: AAA"],
    ];
    const text = request(`POST ${url("/ok/1")} HTTP/1.1`, headers, body);
    expect(await sendRaw(socketPath, text)).to.match(/^HTTP\/1\.1 200 /);
    const [seen] = host.seen;
    expect(seen).to.include({ method: "POST", body: "abc" });
    expect(seen?.headers).to.include({ "x-kept": "1, 2", "transfer-encoding": "chunked" });
    for (const name of ["x-hop", "proxy-authorization", "te", "upgrade", "proxy-connection"]) {
      expect(seen?.headers).to.not.have.property(name);
    }
  });

  it("judges each of many requests that come at once", async () => {
    const get = (path: string) => request(`GET ${url(path)} HTTP/1.1`, [`Host: ${authority}`]);
    const text = get("/ok/1") + get("/secret") + get("/ok/2") + hidden();
    const statuses = (await sendRaw(socketPath, text)).match(/HTTP\/1\.1 \d+/g);
    expect(statuses).to.deep.equal(["200", "403", "200", "403"].map((code) => `HTTP/1.1 ${code}`));
    expect(host.seen.map(({ url: path }) => path).toSorted()).to.deep.equal(["/ok/1", "/ok/2"]);
  });

  const mismatches: Readonly<Record<string, () => readonly [string, string]>> = {
    "Host of another name": () => [url("/ok/"), `other.example:${host.port}`],
    "Host of another port": () => [url("/ok/"), "allowed.example:1"],
    "Host without the port": () => [url("/ok/"), "allowed.example"],
    "Host with a user": () => [url("/ok/"), `x@${authority}`],
    "Host that is an address": () => [url("/ok/"), `127.0.0.1:${host.port}`],
    "an empty Host": () => [url("/ok/"), ""],
    "a user in the address": () => [`http://x@${authority}/ok/`, authority],
    "another host before the at sign": () => [`http://${authority}@other.example/ok/`, authority],
    "no scheme": () => ["/ok/", authority],
    "another scheme": () => [`https://${authority}/ok/`, authority],
    "a file": () => ["file:///etc/passwd", authority],
    "a fragment": () => [url("/ok/#x"), authority],
    "a backslash": () => [`http://${authority}\\/ok/`, authority],
    "no host": () => ["http:///ok/", authority],
    "a star": () => ["*", authority],
  };
  for (const [what, make] of Object.entries(mismatches)) {
    it(`passes no request on with ${what}`, async () => {
      const [target, name] = make();
      const headers = [`Host: ${name}`, "Connection: close"];
      const answer = await sendRaw(socketPath, request(`GET ${target} HTTP/1.1`, headers));
      expect(answer).to.match(/^HTTP\/1\.1 4\d\d /);
      expect(host.seen).to.deep.equal([]);
    });
  }

  const paths = [
    ...["/ok/../secret", "/ok/./x", "/ok/%2e%2e/secret", "/ok/%2E%2e/secret", "/ok/..;/secret"],
    ...["/ok//x", "//ok/", "/ok/%2f../secret", "/ok/%5c..%5csecret", "/ok/\\..\\secret", "/ok/%"],
    ...[
      "/ok/%00",
      "/ok/%252e%252e/secret",
      "/ok/.;x/..",
      "/ok/%zz",
      "/ok/..",
      "/ok/.",
      "/ok",
      "/OK/",
    ],
    ...["/ok/%0d%0aX", "/secret?/ok/", "/secret;/ok/", "/%6fk/../x", "/ok/..%2fsecret"],
  ];
  it("passes no path on that may mean another one", async () => {
    for (const path of paths) {
      const headers = [`Host: ${authority}`, "Connection: close"];
      const answer = await sendRaw(socketPath, request(`GET ${url(path)} HTTP/1.1`, headers));
      expect(answer, path).to.match(/^HTTP\/1\.1 4\d\d /);
    }
    expect(host.seen).to.deep.equal([]);
  });

  it("reads a path in one way only, or not at all", () => {
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom("a", "/", ".", "..", "%2e", "%2F", "%61", ";", "\\", "%", "~")),
        (parts) => {
          const path = `/${parts.join("")}`;
          const normal = normalPath(path);
          if (normal === undefined) return true;
          // A server that resolves dots, or decodes once more, arrives at the same place.
          const resolved = new URL(path, "http://h").pathname;
          const decoded = decode(normal);
          return (
            normalPath(normal) === normal &&
            decode(resolved) === decoded &&
            new URL(decoded, "http://h").pathname.split("/").length === normal.split("/").length
          );
        },
      ),
      { numRuns: 5_000, seed: 7 },
    );
    expect(parseTarget("/a?b?c")).to.deep.equal({ path: "/a", query: "?b?c" });
    for (const text of ["", "a", "*", "/a b", "/a#b", "/ä", "http://x/"]) {
      expect(parseTarget(text), text).to.equal(undefined);
    }
  });

  it("makes no tunnel within a tunnel, no TRACE and no WebSocket where it looks inside", async () => {
    const inside = (line: string, ...headers: string[]) =>
      `CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n\r\n` +
      request(line, [`Host: ${authority}`, ...headers]);
    for (const text of [
      inside(`CONNECT other.example:${host.port} HTTP/1.1`),
      inside(`CONNECT ${authority} HTTP/1.1`),
      inside("TRACE /ok/ HTTP/1.1", "Connection: close"),
      inside("GET /ok/ HTTP/1.1", "Upgrade: websocket", "Connection: upgrade, close"),
      inside(`GET ${url("/ok/")} HTTP/1.1`, "Connection: close"),
    ]) {
      const answer = await sendRaw(socketPath, text);
      expect(answer, text).to.match(/^HTTP\/1\.1 200 [^\r]*\r\n\r\nHTTP\/1\.1 4\d\d /);
    }
    expect(host.seen).to.deep.equal([]);
  });

  it("bounds what a request's head may be", async () => {
    const long = request(`GET ${url("/ok/")} HTTP/1.1`, [
      `Host: ${authority}`,
      `X: ${"x".repeat(40_000)}`,
    ]);
    expect(await sendRaw(socketPath, long)).to.match(/^HTTP\/1\.1 4\d\d /);
    expect(host.seen).to.deep.equal([]);
  });
});
