/** The host's end of a resident's channel against one that lies: each lie ends it, typed. */
import { Duplex } from "node:stream";
import { DevmeshError } from "@devmesh/mesh/errors";
import { expect } from "chai";
import { ResidentChannel } from "../../services/vm/drivers/resident/channel.ts";
import {
  encodeFrame,
  encodeU32,
  type FrameType,
  firstResidentStream,
  frameType,
  windowBytes,
} from "../../services/vm/drivers/resident/frames.ts";

/** A channel whose other end is the test. */
function lyingResident() {
  const sent: Buffer[] = [];
  const connection = new Duplex({
    read() {},
    write(data: Buffer, _encoding, done) {
      sent.push(data);
      done();
    },
  });
  const broken: Error[] = [];
  const channel = new ResidentChannel({
    connection,
    driver: "test",
    onBroken: (cause) => broken.push(cause),
  });
  const say = (type: FrameType | number, stream = 0, payload: Buffer = Buffer.alloc(0)) =>
    connection.push(encodeFrame(type as FrameType, stream, payload));
  return { channel, connection, sent, broken, say };
}

const program = { argv: ["x"], env: {}, cwd: "/", rights: "job", input: false } as const;

async function failure(call: Promise<unknown>): Promise<string> {
  try {
    await call;
    return "none";
  } catch (error: unknown) {
    return error instanceof DevmeshError ? error.reason : String(error);
  }
}

describe("a resident's channel", () => {
  const lies: Record<string, (say: ReturnType<typeof lyingResident>["say"]) => void> = {
    "a second greeting": (say) => {
      say(frameType.hello);
      say(frameType.hello);
    },
    "an answer that nobody asked for": (say) => say(frameType.ready),
    "a frame of no known type": (say) => say(77, 1),
    "a stream of its own without a door": (say) =>
      say(frameType.open, firstResidentStream + 1, Buffer.from("backend")),
    "an answer to no question": (say) => say(frameType.read, 9, encodeU32(0)),
    "more than its credit": (say) => {
      for (let sent = 0; sent <= windowBytes; sent += 65_536) {
        say(frameType.data, 1, Buffer.alloc(65_536));
      }
    },
    "an exit that is cut short": (say) => say(frameType.exit, 1, Buffer.alloc(3)),
    "a list that is cut short": (say) => say(frameType.failed, 1, encodeU32(1_000)),
    "a frame that is too large": (say) => say(frameType.data, 1, Buffer.alloc(70_000)),
  };
  for (const [what, tell] of Object.entries(lies)) {
    it(`ends at ${what}`, async () => {
      const { channel, broken, say, connection } = lyingResident();
      const stream = channel.start(program);
      tell(say);
      expect(await failure(stream.exit)).to.equal("SANDBOX_FAILED");
      expect(broken).to.have.length(1);
      expect(channel.isOpen).to.equal(false);
      expect(connection.destroyed).to.equal(true);
      for (const call of [channel.read("/x"), channel.configure([]), channel.start(program).exit]) {
        expect(await failure(call)).to.equal("SANDBOX_FAILED");
      }
    });
  }

  it("ends with random bytes, whatever they are", async () => {
    let seed = 7;
    const next = () => {
      seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31;
      return seed;
    };
    for (let round = 0; round < 200; round++) {
      const { channel, connection } = lyingResident();
      const stream = channel.start(program);
      connection.push(Buffer.from(Array.from({ length: 64 }, () => next() % 256)));
      connection.push(null);
      expect(await failure(stream.exit)).to.equal("SANDBOX_FAILED");
      expect(channel.isOpen).to.equal(false);
    }
  });

  it("ends everything that waits when the other end goes", async () => {
    const { channel, connection } = lyingResident();
    const calls = [
      channel.hello,
      channel.read("/x"),
      channel.configure([["clock", 0, 0]]),
      channel.start(program).started,
    ];
    connection.destroy(new Error("reset"));
    for (const call of calls) expect(await failure(call)).to.equal("SANDBOX_FAILED");
  });

  it("answers settings in their order, each with its own outcome", async () => {
    const { channel, say } = lyingResident();
    const one = channel.configure([["clock", 0, 0]]);
    const two = channel.configure([["door", "backend", 80]]);
    const why = Buffer.from("door backend: bind: Permission denied");
    const list = [Buffer.from("config"), Buffer.from("0"), why];
    say(frameType.ready);
    say(frameType.failed, 0, Buffer.concat(list.flatMap((item) => [encodeU32(item.length), item])));
    expect(await failure(one)).to.equal("none");
    expect(await failure(two)).to.equal("SANDBOX_FAILED");
    expect(channel.isOpen).to.equal(true);
  });

  it("ends its programs as killed when it is closed on purpose", async () => {
    const { channel } = lyingResident();
    const stream = channel.start(program);
    channel.close();
    expect(await stream.exit).to.deep.equal({ status: 137, met: 0 });
  });
});
