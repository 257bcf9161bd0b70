/** Clients that take their time: none keeps others from their answers. */
import { expect } from "chai";
import { openRaw } from "./raw-socket.ts";
import { within } from "./waiting.ts";
import { type Bed, startBed } from "./wire-bed.ts";

describe("slow clients", function () {
  this.timeout(180_000);
  let bed: Bed;
  before(async () => {
    bed = await startBed("connect", { bounds: { firstBytesTimeoutMs: 60_000 } });
  });
  after(() => bed.end());

  async function expectAnswer(): Promise<void> {
    const res = await within(fetch(`${bed.url}/v1/host`), "an answer");
    expect(res.status).to.equal(200);
    await res.arrayBuffer();
  }

  it("answers while others send headers letter by letter", async () => {
    const slow = await Promise.all(Array.from({ length: 100 }, () => openRaw(bed.port)));
    for (const letter of "POST /v1/llm/infer HTTP/1.1\r\nX-A: b") {
      for (const { socket } of slow) socket.write(letter);
      await expectAnswer();
    }
    for (const raw of slow) {
      expect(raw.text()).to.equal("");
      raw.socket.destroy();
    }
  });

  it("answers while others send bodies without an end", async () => {
    const slow = await Promise.all(Array.from({ length: 50 }, () => openRaw(bed.port)));
    const head = "POST /v1/llm/infer HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (const { socket } of slow) socket.write(head);
    for (let i = 0; i < 10; i++) {
      for (const { socket } of slow) socket.write("1\r\nx\r\n");
      await expectAnswer();
    }
    for (const { socket } of slow) socket.destroy();
  });

  it("ends an upload without an end at its limit", async () => {
    const small = await startBed("connect", { maxMessageBytes: 64 * 1024 });
    try {
      const raw = await openRaw(small.port);
      const head = "POST /v1/llm/infer HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
      const chunk = `4000\r\n${"x".repeat(0x4000)}\r\n`;
      raw.socket.write(head);
      // Twice what is taken, and a little more.
      for (let i = 0; i < 10; i++) raw.socket.write(chunk);
      await raw.says("HTTP/1.1 413 ");
      raw.socket.destroy();
    } finally {
      await small.end();
    }
  });
});
