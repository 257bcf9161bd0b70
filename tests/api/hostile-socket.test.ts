/** WebSocket clients that break the protocol: each is cut off, and others are served on. */
import { randomBytes } from "node:crypto";
import { expect } from "chai";
import { startUp, type Up } from "../e2e/up.ts";
import { type TempFolder, tempFolder } from "../sdk/temp-folder.ts";
import { openRaw, type RawSocket } from "../wire/raw-socket.ts";

/** A frame (RFC 6455 §5.2); clients mask theirs. */
function frameOf(first: number, payload: Buffer, mask = true): Buffer {
  const bit = mask ? 0x80 : 0;
  const length =
    payload.length < 126
      ? Buffer.of(bit | payload.length)
      : Buffer.of(bit | 126, payload.length >> 8, payload.length & 255);
  // With a mask of zeros the payload stays as it is.
  return Buffer.concat([Buffer.of(first), length, Buffer.alloc(mask ? 4 : 0), payload]);
}

const text = 0x81;
const textGoesOn = 0x01;
const goesOn = 0x00;
const close = 0x88;
const ping = 0x89;

describe("hostile WebSocket clients", function () {
  this.timeout(60_000);
  let folder: TempFolder | undefined;
  let up: Up;
  let jobId: string;

  before(async () => {
    folder = tempFolder();
    const env = { SANDBOX_DRIVERS: "docker", DOCKER_HOST: "unix:///nowhere/docker.sock" };
    up = await startUp({ dataDir: folder.path, env });
    const capabilities = [{ driver: "none", isolation: "ISOLATION_PROCESS", available: true }];
    await post("RunnerService/RegisterRunner", {
      runner: { id: "none", host: "none", capacity: 1, capabilities },
    });
    const made = await post("JobService/CreateJob", { spec: { command: { argv: ["true"] } } });
    jobId = (made as { jobId: string }).jobId;
  });
  after(async () => {
    await up?.stop();
    folder?.[Symbol.dispose]();
  });
  afterEach(async () => {
    const raw = await watch();
    await raw.says('"type":"status"');
    raw.socket.destroy();
  });

  async function post(method: string, message: object): Promise<unknown> {
    const res = await fetch(`${up.url}/devmesh.api.v1.${method}`, {
      method: "POST",
      headers: { authorization: `Bearer ${up.token}`, "content-type": "application/json" },
      body: JSON.stringify(message),
    });
    const answer = await res.text();
    expect(res.status, answer).to.equal(200);
    return JSON.parse(answer);
  }

  /** A connection that was upgraded. */
  async function watch(): Promise<RawSocket> {
    const raw = await openRaw(up.ports.api);
    const lines = [
      `GET /v1/stream/${jobId} HTTP/1.1`,
      "Host: x",
      `Authorization: Bearer ${up.token}`,
      "Connection: Upgrade",
      "Upgrade: websocket",
      "Sec-WebSocket-Version: 13",
      `Sec-WebSocket-Key: ${randomBytes(16).toString("base64")}`,
    ];
    raw.socket.write(`${lines.join("\r\n")}\r\n\r\n`);
    await raw.says("101 Switching Protocols");
    return raw;
  }

  /** The close code that the server sends: the last frame that it says. */
  function codeOf(said: string): number {
    const bytes = Buffer.from(said, "latin1");
    const at = bytes.lastIndexOf(close);
    return at === -1 ? 0 : bytes.readUInt16BE(at + 2);
  }

  for (const [name, bytes, code] of [
    ["a frame without a mask", frameOf(text, Buffer.from("x"), false), 1002],
    ["a frame larger than taken", frameOf(text, Buffer.alloc(5000, 120)), 1009],
    ["a text that is no UTF-8", frameOf(text, Buffer.of(0xff)), 1007],
    ["a frame of a kind that there is not", frameOf(0x83, Buffer.alloc(0)), 1002],
    ["reserved bits", frameOf(0xf1, Buffer.alloc(0)), 1002],
    ["a part of nothing", frameOf(goesOn, Buffer.alloc(1)), 1002],
    ["a close code that may not be sent", frameOf(close, Buffer.of(0x03, 0xed)), 1002],
    ["a close of one byte", frameOf(close, Buffer.of(3)), 1002],
    ["a ping that is too long", frameOf(ping, Buffer.alloc(126)), 1002],
  ] as const) {
    it(`cuts off ${name}: ${code}`, async () => {
      const raw = await watch();
      await raw.says('"type":"status"');
      raw.socket.write(bytes);
      expect(codeOf(await raw.closed())).to.equal(code);
    });
  }

  it("cuts off a message whose parts have no end", async () => {
    const raw = await watch();
    raw.socket.write(frameOf(textGoesOn, Buffer.alloc(1000, 120)));
    for (let i = 0; i < 10; i++) raw.socket.write(frameOf(goesOn, Buffer.alloc(1000, 120)));
    expect(codeOf(await raw.closed())).to.equal(1009);
  });

  it("cuts off a flood of pings whose answers are not read", async () => {
    const raw = await watch();
    raw.socket.write(Buffer.concat(Array<Buffer>(20_000).fill(frameOf(ping, Buffer.from("?")))));
    await raw.closed();
  });
});
