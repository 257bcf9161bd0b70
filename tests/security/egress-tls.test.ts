/** Attacks on the egress proxy by what a tunnel carries: another host's name, none, or no TLS at all. */
import { type AddressInfo, createServer, type Socket } from "node:net";
import { Duplex } from "node:stream";
import { connect as connectTls } from "node:tls";
import { expect } from "chai";
import fc from "fast-check";
import { readClientHello } from "../../services/vm/egress/client-hello.ts";
import { askTls, EgressBed, secure, type TestHost, tunnel } from "../vm/egress/bed.ts";

/** The first bytes of a real TLS client. */
async function realHello(options: {
  servername?: string;
  ALPNProtocols?: string[];
}): Promise<Buffer> {
  const got = Promise.withResolvers<Buffer>();
  const server = createServer((socket) => {
    socket.on("error", () => {});
    socket.once("data", (chunk) => {
      got.resolve(chunk);
      socket.destroy();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const client = connectTls({ port, host: "127.0.0.1", ...options });
  client.on("error", () => {});
  try {
    return await got.promise;
  } finally {
    client.destroy();
    server.close();
  }
}

/** The same message in records of a few bytes each. */
function inSmallRecords(hello: Buffer, size: number): Buffer {
  const body = hello.subarray(5);
  const records: Buffer[] = [];
  for (let at = 0; at < body.length; at += size) {
    const piece = body.subarray(at, at + size);
    const head = Buffer.from([22, 3, 1, piece.length >> 8, piece.length & 255]);
    records.push(head, piece);
  }
  return Buffer.concat(records);
}

/** A ClientHello with these extensions. */
function hello(...extensions: readonly (readonly [number, Buffer])[]): Buffer {
  const u16 = (n: number) => Buffer.from([n >> 8, n & 255]);
  const blocks = extensions.map(([type, content]) =>
    Buffer.concat([u16(type), u16(content.length), content]),
  );
  const all = Buffer.concat(blocks);
  const body = Buffer.concat([
    ...[Buffer.from([3, 3]), Buffer.alloc(32), Buffer.from([0])],
    ...[u16(2), Buffer.from([0x13, 1]), Buffer.from([1, 0]), u16(all.length), all],
  ]);
  const message = Buffer.concat([Buffer.from([1, 0]), u16(body.length), body]);
  return Buffer.concat([Buffer.from([22, 3, 1]), u16(message.length), message]);
}

function serverName(...names: readonly (readonly [number, string])[]): readonly [number, Buffer] {
  const list = Buffer.concat(
    names.map(([type, name]) =>
      Buffer.concat([
        Buffer.from([type, name.length >> 8, name.length & 255]),
        Buffer.from(name, "latin1"),
      ]),
    ),
  );
  return [0, Buffer.concat([Buffer.from([list.length >> 8, list.length & 255]), list])];
}

describe("a ClientHello", () => {
  it("of a real client is read, whole and in pieces of any size", async () => {
    const bytes = await realHello({ servername: "Real.Example" });
    expect(readClientHello(bytes)).to.deep.equal({ state: "name", name: "real.example" });
    for (let size = 1; size < bytes.length; size++) {
      expect(readClientHello(bytes.subarray(0, size)).state, String(size)).to.equal("more");
    }
    for (const size of [1, 2, 7, 100]) {
      const cut = inSmallRecords(bytes, size);
      expect(readClientHello(cut)).to.deep.equal({ state: "name", name: "real.example" });
    }
  });

  it("that names no host, an address, two hosts, or something else is refused", async () => {
    const unnamed = await realHello({});
    const cases: readonly (readonly [string, Buffer])[] = [
      ["none", unnamed],
      ["no extensions of it", hello()],
      ["an address", hello(serverName([0, "127.0.0.1"]))],
      ["an IPv6 address", hello(serverName([0, "::1"]))],
      ["a trailing dot", hello(serverName([0, "a.example."]))],
      ["a NUL", hello(serverName([0, "a.example\0.evil.example"]))],
      ["bytes beyond ASCII", hello(serverName([0, "\xe4.example"]))],
      ["an empty name", hello(serverName([0, ""]))],
      ["no name in the list", hello(serverName())],
      ["two names in the list", hello(serverName([0, "a.example"], [0, "b.example"]))],
      ["two lists", hello(serverName([0, "a.example"]), serverName([0, "b.example"]))],
      ["another kind of name", hello(serverName([1, "a.example"]))],
    ];
    for (const [what, bytes] of cases) {
      expect(readClientHello(bytes), what).to.include({ state: "refused", why: "NO_SNI" });
    }
  });

  it("that is none is refused as soon as that is seen", () => {
    const good = hello(serverName([0, "a.example"]));
    const broken = Buffer.from(good);
    broken[10] = 255;
    broken[43] = 255;
    const cases: readonly Buffer[] = [
      Buffer.from("GET / HTTP/1.1\r\n"),
      Buffer.from("SSH-2.0-x"),
      Buffer.from([22, 2, 0]),
      Buffer.from([22, 3, 1, 0, 0]),
      Buffer.from([22, 3, 1, 255, 255]),
      Buffer.from([22, 3, 1, 0, 4, 2, 0, 0, 0]),
      Buffer.from([22, 3, 1, 0, 4, 1, 255, 255, 255]),
      broken,
    ];
    for (const bytes of cases) {
      expect(readClientHello(bytes), bytes.toString("hex")).to.include({
        state: "refused",
        why: "NO_TLS",
      });
    }
    // An outer name beside an encrypted one is what is read.
    const hidden = hello([0xfe0d, Buffer.alloc(64, 7)], serverName([0, "outer.example"]));
    expect(readClientHello(hidden)).to.include({ name: "outer.example" });
  });

  it("of any bytes is refused or waited for, never more", () => {
    const good = hello(serverName([0, "a.example"]));
    const mutated = fc
      .array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { minLength: 1, maxLength: 5 })
      .map((changes) => {
        const bytes = Buffer.from(good);
        for (const [at, value] of changes) bytes[at] = value;
        return bytes;
      });
    const any = fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes));
    fc.assert(
      fc.property(fc.oneof(mutated, any), (bytes) => {
        const reading = readClientHello(bytes);
        return ["more", "name", "refused"].includes(reading.state);
      }),
      { numRuns: 5_000, seed: 7 },
    );
  });
});

describe("egress attacks by TLS", () => {
  let bed: EgressBed;
  let host: TestHost;
  beforeEach(async () => {
    bed = await EgressBed.open();
    host = await bed.tlsHost("allowed.example");
  });
  afterEach(() => bed.close());

  for (const [how, methods] of [
    ["passed through", []],
    ["looked into", ["GET"]],
  ] as const) {
    const policy = () => ({
      allow: [{ host: "allowed.example", port: host.port, methods: [...methods] }],
    });
    const open = async () => {
      const egress = await bed.proxy(policy());
      const { socket, status } = await tunnel(
        egress.door.socketPath,
        `allowed.example:${host.port}`,
      );
      expect(status).to.equal(200);
      return { egress, socket };
    };

    it(`refuses another host's name in a tunnel that is ${how}`, async () => {
      const { egress, socket } = await open();
      const failed = await secure(socket, "evil.example", bed.ca).catch((error) => error.code);
      expect(failed).to.match(/UNRECOGNIZED_NAME/);
      const decided = await bed.decided(egress);
      expect(decided.map(({ reason }) => reason)).to.deep.equal(["SNI_MISMATCH"]);
      expect(host.names).to.deep.equal([]);
      expect(host.seen).to.deep.equal([]);
    });

    it(`refuses a client that names no host in a tunnel that is ${how}`, async () => {
      const { egress, socket } = await open();
      const failed = await secure(socket, "", bed.ca).catch((error) => error.code);
      expect(failed).to.be.a("string");
      expect((await bed.decided(egress))[0]?.reason).to.equal("NO_SNI");
      expect(host.seen).to.deep.equal([]);
    });

    it(`refuses what is no TLS in a tunnel that is ${how}`, async () => {
      const { egress, socket } = await open();
      const closed = new Promise((resolve) => socket.once("close", resolve));
      socket.resume();
      socket.write("GET /secret HTTP/1.1\r\nHost: allowed.example\r\n\r\n");
      await closed;
      expect((await bed.decided(egress))[0]?.reason).to.equal("NO_TLS");
      expect(host.seen).to.deep.equal([]);
    });

    it(`takes a ClientHello in small pieces in a tunnel that is ${how}`, async () => {
      const { egress, socket } = await open();
      const ca = how === "passed through" ? bed.ca : await jobCa(egress.mounts);
      const tls = await secure(inPieces(socket), "allowed.example", ca);
      expect(tls.authorized).to.equal(true);
      tls.destroy();
    });
  }

  it("goes on with the checked host only: a later name in the tunnel changes nothing", async () => {
    const egress = await bed.proxy({
      allow: [{ host: "allowed.example", port: host.port, methods: ["GET"] }],
    });
    const got = await askTls(
      egress,
      await jobCa(egress.mounts),
      `https://allowed.example:${host.port}/`,
      {
        headers: { host: "evil.example" },
      },
    );
    expect(got).to.include({ status: 403, why: "HOST_MISMATCH" });
    expect(host.seen).to.deep.equal([]);
  });

  it("gives each job an authority of its own", async () => {
    const policy = { allow: [{ host: "allowed.example", port: host.port, methods: ["GET"] }] };
    const one = await bed.proxy(policy);
    const caOfOne = await jobCa(one.mounts);
    const two = await bed.proxy(policy);
    const url = `https://allowed.example:${host.port}/`;
    const failed = await askTls(two, caOfOne, url).catch((error) => error.code);
    expect(failed)
      .to.be.a("string")
      .that.matches(/SELF_SIGNED|UNABLE|SIGNATURE|CERT/);
  });
});

async function jobCa(mounts: readonly { hostPath: string }[]): Promise<string[]> {
  const { readFile } = await import("node:fs/promises");
  return Promise.all(mounts.map(({ hostPath }) => readFile(hostPath, "utf8")));
}

/** The same stream, whose first 300 bytes go out one by one. */
function inPieces(socket: Socket): Duplex {
  let left = 300;
  const pieces = new Duplex({
    read: () => socket.resume(),
    write: (chunk: Buffer, _encoding, done) => {
      const small = Math.min(left, chunk.length);
      left -= small;
      for (let at = 0; at < small; at++) socket.write(chunk.subarray(at, at + 1));
      socket.write(chunk.subarray(small), done);
    },
    destroy: (error, done) => {
      socket.destroy();
      done(error);
    },
  });
  socket.setNoDelay(true);
  socket.on("data", (chunk) => pieces.push(chunk));
  socket.once("close", () => pieces.push(null));
  return pieces;
}
