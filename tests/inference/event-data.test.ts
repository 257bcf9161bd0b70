/** Server-sent events cut out of bytes that come in any portions. */
import { expect } from "chai";
import { EventDataReader } from "../../services/inference/providers/openai/event-data.ts";

function read(portions: Iterable<Buffer>): string[] {
  const reader = new EventDataReader();
  return [...portions].flatMap((portion) => reader.push(portion));
}

describe("event data", () => {
  const text =
    'data: {"a":"é€😀"}\n\n: a comment\nevent: x\ndata:two\r\ndata: lines\r\n\r\n\ndata: [DONE]\n\n';
  const found = ['{"a":"é€😀"}', "two\nlines", "[DONE]"];

  it("is the same however the bytes are cut", () => {
    const bytes = Buffer.from(text);
    expect(read([bytes])).to.deep.equal(found);
    for (const size of [1, 2, 3, 7]) {
      const portions = Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) =>
        bytes.subarray(i * size, (i + 1) * size),
      );
      expect(read(portions), `portions of ${size}`).to.deep.equal(found);
    }
  });

  it("is not told before its event has ended", () => {
    expect(read([Buffer.from("data: half\n")])).to.deep.equal([]);
  });

  it("is bounded", () => {
    const reader = new EventDataReader();
    const endless = () => {
      for (let i = 0; i < 20; i++) reader.push(Buffer.alloc(1024 * 1024, "x"));
    };
    expect(endless).to.throw("larger than");
  });
});
