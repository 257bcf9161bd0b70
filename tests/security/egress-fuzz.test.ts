/** Ten thousand broken requests to one egress proxy: no crash, nothing let out, and it still works. */
import { connect } from "node:net";
import { SeededRandom } from "@devmesh/mesh/runtime";
import { expect } from "chai";
import { ask, EgressBed } from "../vm/egress/bed.ts";

const requests = 10_000;
/** Connections at once. */
const lanes = 20;

describe("egress fuzz", function () {
  this.timeout(300_000);
  let bed: EgressBed;
  beforeEach(async () => {
    bed = await EgressBed.open();
  });
  afterEach(() => bed.close());

  it(`outlives ${requests} broken requests`, async () => {
    const random = new SeededRandom(7);
    const below = (n: number) => Math.floor(random.next() * n);
    const one = <T>(list: readonly T[]): T => list[below(list.length)] as T;
    const host = await bed.plainHost("allowed.example");
    const forbidden = await bed.plainHost("forbidden.example");
    const egress = await bed.proxy({
      allow: [{ host: "allowed.example", port: host.port, plainHttp: true, paths: ["/ok/"] }],
    });
    const { socketPath } = egress.door;
    const authority = `allowed.example:${host.port}`;
    const bad = `forbidden.example:${forbidden.port}`;
    const bytes = () => Buffer.from(Array.from({ length: below(200) }, () => below(256)));
    const parts = [
      ...[
        "GET ",
        "POST ",
        "CONNECT ",
        "TRACE ",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "\0",
        "\r\n",
        "\n",
      ],
      ...[" HTTP/1.1\r\n", " HTTP/1.0\r\n", " HTTP/9.9\r\n", "http://", "https://", authority, bad],
      ...[
        `Host: ${authority}\r\n`,
        `Host: ${bad}\r\n`,
        "Host: \r\n",
        "Connection: close\r\n",
        "/ok/",
      ],
      ...[
        "/ok/../x",
        "/secret",
        "Content-Length: 5\r\n",
        "Content-Length: -1\r\n",
        "Expect: 100-continue\r\n",
      ],
      ...[
        "Transfer-Encoding: chunked\r\n",
        "Upgrade: websocket\r\n",
        "5\r\nabcde\r\n",
        "0\r\n\r\n",
      ],
      ...["ffffffffffffffff\r\n", "\r\n\r\n", "169.254.169.254:80", "[::1]:80", "x".repeat(9_000)],
      ...["\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "%2e%2e", "@", "#", "?", "\\", ":", "\t"],
    ];
    const message = (): Buffer => {
      const kind = below(4);
      if (kind === 0) return bytes();
      if (kind === 1) {
        return Buffer.concat(
          Array.from({ length: 1 + below(12) }, () => Buffer.from(one(parts), "latin1")),
        );
      }
      const target = one([
        `http://${authority}/ok/`,
        `http://${bad}/`,
        `http://${authority}/secret`,
      ]);
      const line = one([`GET ${target}`, `POST ${target}`, `CONNECT ${one([authority, bad])}`]);
      const text = `${line} HTTP/1.1\r\nHost: ${authority}\r\n${one(parts)}\r\n${one(parts)}`;
      const whole = Buffer.from(text, "latin1");
      if (kind === 2) whole[below(whole.length)] = below(256);
      return kind === 3 ? whole.subarray(0, below(whole.length)) : whole;
    };
    const send = (data: Buffer) =>
      new Promise<void>((resolve) => {
        const socket = connect(socketPath);
        socket.once("close", () => resolve());
        socket.on("error", () => {});
        socket.resume();
        socket.end(data);
      });
    let left = requests;
    const lane = async () => {
      while (left > 0) {
        left -= 1;
        await send(message());
      }
    };
    const crashes: unknown[] = [];
    const note = (error: unknown) => void crashes.push(error);
    process.on("uncaughtExceptionMonitor", note);
    process.on("unhandledRejection", note);
    try {
      await Promise.all(Array.from({ length: lanes }, lane));
    } finally {
      process.off("uncaughtExceptionMonitor", note);
      process.off("unhandledRejection", note);
    }
    expect(crashes).to.deep.equal([]);
    expect(forbidden.connections.size).to.equal(0);
    for (const { url } of host.seen) expect(url).to.match(/^\/ok\//);
    const got = await ask({
      ...{ socketPath, path: `http://${authority}/ok/`, headers: { host: authority } },
    });
    expect(got.status).to.equal(200);
    const decided = await bed.decided(egress);
    // However much is tried, what is told of it is bounded.
    expect(decided.length).to.be.lessThan(10_100);
    expect(bed.notes.length).to.be.lessThan(60);
  });
});
