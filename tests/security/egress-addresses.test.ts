/** Attacks on the egress proxy by addresses: private, metadata, disguised, changing, or asked for by number. */
import { expect } from "chai";
import { AddressGuard, isAddressRange } from "../../services/vm/egress/address-guard.ts";
import { ask, EgressBed, sendRaw, tunnel } from "../vm/egress/bed.ts";

/** By verdict; of each range its edges, where they matter. */
const addresses = {
  FORBIDDEN_ADDRESS: [
    ...[
      "0.0.0.0",
      "0.255.255.255",
      "169.254.169.254",
      "169.254.0.1",
      "224.0.0.1",
      "239.255.255.255",
    ],
    ...["240.0.0.1", "255.255.255.255", "168.63.129.16", "100.100.100.200", "192.0.0.192"],
    ...["::", "::1", "::ffff:169.254.169.254", "::ffff:8.8.8.8", "::ffff:a9fe:a9fe", "::8.8.8.8"],
    ...["0:0:0:0:0:ffff:7f00:1", "64:ff9b::8.8.8.8", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1"],
    ...["2002:a9fe:a9fe::1", "2002::1", "2001:0:1::1", "fe80::1", "febf::1", "fec0::1", "ff02::1"],
    ...["fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254", "fe80::1%eth0", "2606:4700::1%lo"],
    ...["not an address", "", "127.1", "0x7f.0.0.1", "2130706433", "1.2.3.4.5", "[::1]"],
  ],
  PRIVATE_ADDRESS: [
    ...[
      "10.0.0.1",
      "10.255.255.255",
      "127.0.0.1",
      "127.255.255.254",
      "172.16.0.1",
      "172.31.255.255",
    ],
    ...["192.168.0.1", "100.64.0.1", "100.127.255.255", "192.0.0.1", "192.0.2.1", "198.18.0.1"],
    ...["198.19.255.255", "198.51.100.1", "203.0.113.1", "192.88.99.1"],
    ...[
      "fc00::1",
      "fd12:3456::1",
      "2001:db8::1",
      "3fff::1",
      "100::1",
      "4000::1",
      "2001:2::1",
      "5f00::1",
    ],
  ],
  ok: [
    ...["8.8.8.8", "1.1.1.1", "9.255.255.255", "11.0.0.1", "100.63.255.255", "100.128.0.1"],
    ...[
      "172.15.255.255",
      "172.32.0.1",
      "192.167.0.1",
      "198.17.0.1",
      "198.20.0.1",
      "223.255.255.255",
    ],
    ...["2606:4700::1111", "2a00:1450:4001::1", "2001:4860:4860::8888", "2003::1"],
  ],
} as const;

describe("egress attacks by address", () => {
  let bed: EgressBed;
  beforeEach(async () => {
    bed = await EgressBed.open();
  });
  afterEach(() => bed.close());

  for (const [verdict, list] of Object.entries(addresses)) {
    it(`judges as ${verdict} what is`, () => {
      const guard = new AddressGuard();
      for (const address of list) expect(guard.judge(address), address).to.equal(verdict);
    });
  }

  it("opens private ranges where the operator says so, and metadata services never", () => {
    const guard = new AddressGuard(["0.0.0.0/0", "::/0"]);
    for (const address of addresses.PRIVATE_ADDRESS) {
      expect(guard.judge(address), address).to.equal("ok");
    }
    for (const address of addresses.FORBIDDEN_ADDRESS) {
      expect(guard.judge(address), address).to.equal("FORBIDDEN_ADDRESS");
    }
    expect(new AddressGuard(["10.1.0.0/16"]).judge("10.2.0.1")).to.equal("PRIVATE_ADDRESS");
  });

  it("takes the host's own addresses for private, whatever they are", () => {
    const guard = new AddressGuard([], ["8.8.8.8", "2606:4700::1111"]);
    for (const address of ["8.8.8.8", "2606:4700::1111", "2606:4700:0:0::1111"]) {
      expect(guard.judge(address), address).to.equal("PRIVATE_ADDRESS");
    }
    expect(guard.judge("8.8.4.4")).to.equal("ok");
    expect(new AddressGuard(["8.8.8.0/24"], ["8.8.8.8"]).judge("8.8.8.8")).to.equal("ok");
  });

  it("knows ranges from what is none", () => {
    for (const range of ["10.0.0.0/8", "fd00::/8", "1.2.3.4/32", "::/0"]) {
      expect(isAddressRange(range), range).to.equal(true);
    }
    for (const range of ["10.0.0.0", "10.0.0.0/33", "::/129", "a/8", "10.0.0.0/8/8", "1/-1", ""]) {
      expect(isAddressRange(range), range).to.equal(false);
    }
  });

  it("refuses a name that leads inside, in every disguise, before anything is connected to", async () => {
    const host = await bed.plainHost("never.example");
    const rule = { host: "in.example", port: host.port, plainHttp: true };
    const egress = await bed.proxy({ allow: [rule] }, { allowPrivate: [] });
    const { socketPath } = egress.door;
    const inside = [...addresses.PRIVATE_ADDRESS, ...addresses.FORBIDDEN_ADDRESS];
    for (const address of inside) {
      bed.names.set("in.example", [address]);
      const { status, socket } = await tunnel(socketPath, `in.example:${host.port}`);
      socket.destroy();
      expect(status, address).to.equal(403);
    }
    expect(host.connections.size).to.equal(0);
  });

  it("refuses the whole answer for one bad address in it", async () => {
    const host = await bed.plainHost("never.example");
    const rule = { host: "mixed.example", port: host.port, plainHttp: true };
    const egress = await bed.proxy({ allow: [rule] }, { allowPrivate: [] });
    bed.names.set("mixed.example", ["93.184.216.34", "2606:4700::1", "127.0.0.1"]);
    const got = await tunnel(egress.door.socketPath, `mixed.example:${host.port}`);
    got.socket.destroy();
    expect(got).to.include({ status: 403, why: "PRIVATE_ADDRESS" });
  });

  it("is not turned by a name that changes its address behind the check (rebinding)", async () => {
    const good = await bed.plainHost("turn.example");
    const egress = await bed.proxy({
      allow: [{ host: "turn.example", port: good.port, plainHttp: true }],
    });
    const { socketPath } = egress.door;
    const authority = `turn.example:${good.port}`;
    const get = () =>
      ask({ socketPath, path: `http://${authority}/`, headers: { host: authority } });
    expect(await get()).to.include({ status: 200 });
    bed.names.set("turn.example", ["169.254.169.254"]);
    // The pin holds: the name is not asked for again, and the checked address is used.
    expect(await get()).to.include({ status: 200 });
    expect(bed.asked).to.deep.equal(["turn.example"]);
  });

  it("checks anew, and refuses, once a pin is over", async () => {
    const { PinnedNames } = await import("../../services/vm/egress/pinned-names.ts");
    const { TestClock } = await import("@devmesh/mesh/runtime");
    const clock = new TestClock();
    const answers = [["93.184.216.34"], ["10.0.0.1"]];
    const names = new PinnedNames({
      resolve: async () => answers.shift() ?? [],
      guard: new AddressGuard(),
      clock,
    });
    expect(await names.addressesOf("a.example", 443)).to.deep.equal(["93.184.216.34"]);
    clock.advance(59_999);
    expect(await names.addressesOf("a.example", 443)).to.deep.equal(["93.184.216.34"]);
    clock.advance(2);
    const refused = await names.addressesOf("a.example", 443).catch((error) => error.facts.why);
    expect(refused).to.equal("PRIVATE_ADDRESS");
  });

  const numbers = [
    ...["127.0.0.1", "169.254.169.254", "2130706433", "0x7f000001", "017700000001", "0177.0.0.1"],
    ...["127.1", "127.0.0.1.", "0", "1", "[::1]", "[::ffff:127.0.0.1]", "[fd00:ec2::254]"],
    ...["0x7f.0.0.0x1", "127.0.0.0x1", "1.2.3", "256.256.256.256"],
  ];
  const odd = [
    ...[
      "allowed.example.",
      "user@allowed.example",
      "user:pass@allowed.example",
      "ａllowed.example",
    ],
    ...[
      "allowed.example%00.evil.example",
      "allowed_example",
      "-allowed.example",
      "allowed..example",
    ],
    ...[
      ".allowed.example",
      "*.allowed.example",
      "allowed.example#",
      "allowed.example/x",
      "a b.example",
    ],
    ...["", "allowed.example\\evil", `${"a".repeat(64)}.example`, `${"a.".repeat(200)}example`],
  ];
  for (const [what, hosts] of Object.entries({ numbers, "odd names": odd })) {
    it(`reaches nothing by ${what}, as a tunnel or as a plain request`, async () => {
      const host = await bed.plainHost("allowed.example");
      const egress = await bed.proxy({
        allow: [
          { host: "allowed.example", port: host.port, plainHttp: true },
          { host: "*.example", port: host.port, plainHttp: true },
        ],
      });
      bed.names.set("evil.example", ["127.0.0.1"]);
      const { socketPath } = egress.door;
      for (const name of hosts) {
        const authority = `${name}:${host.port}`;
        const line = Buffer.from(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`);
        const connected = await sendRaw(socketPath, line);
        expect(connected, authority).to.match(/^HTTP\/1\.1 4\d\d /);
        const plain = Buffer.from(
          `GET http://${authority}/ HTTP/1.1\r\nHost: ${authority}\r\nConnection: close\r\n\r\n`,
        );
        expect(await sendRaw(socketPath, plain), authority).to.match(/^HTTP\/1\.1 4\d\d /);
      }
      expect(host.connections.size).to.equal(0);
      expect(bed.asked).to.deep.equal([]);
    });
  }

  it("asks no resolver for names that no rule has: a name is no way to carry data out", async () => {
    const egress = await bed.proxy({ allow: [{ host: "allowed.example" }] });
    const { socketPath } = egress.door;
    for (let i = 0; i < 100; i++) {
      const name = `${Buffer.from(`secret ${i}`).toString("hex")}.tunnel.example`;
      const got = await tunnel(socketPath, `${name}:443`);
      got.socket.destroy();
      expect(got).to.include({ status: 403, why: "NOT_ALLOWED" });
    }
    expect(bed.asked).to.deep.equal([]);
  });

  it("takes capitals for what they are", async () => {
    const host = await bed.plainHost("case.example");
    const egress = await bed.proxy({
      allow: [{ host: "case.example", port: host.port, plainHttp: true }],
    });
    const { socketPath } = egress.door;
    const authority = `CASE.Example:${host.port}`;
    const got = await ask({
      socketPath,
      path: `HTTP://${authority}/`,
      headers: { host: authority },
    });
    expect(got.status).to.equal(200);
    expect(host.seen[0]?.headers.host).to.equal(`case.example:${host.port}`);
  });
});
